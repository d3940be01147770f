"""What each ingredient of a training is worth, on noise, with judges of two channels and attacks of few steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from steelman import data, defences, training, weights
from steelman.attacks import Last, fgsm, pgd
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.evaluation.running.attempt_runner import AttemptRunner
from steelman.losses import cross_entropy, margin_targeted
from steelman.norms import Linf
from steelman.pipeline import Pipeline
from steelman.progress import Progress
from steelman.records import WORST, Evaluation, read
from steelman.report import tables, to_html
from steelman.studies import ablation, ablation_setup
from steelman.studies.ablation import ablate
from steelman.studies.ablation_setup import AblationPlan, AblationSetup
from steelman.studies.ablation_variants import BASE, VARIANTS, HalfTargeted, Variant
from steelman.studies.paper import reproduce
from steelman.studies.paper_setup import Plan
from steelman.training import EndToEndPurifierLoss, Recipe
from steelman.training.objectives import Weights
from steelman.training.purifiers import augmentation

KEYS = [one.key for one in VARIANTS]
FEW = ("base", "unet", "together")


def noise(n: int, name: str) -> Images:
    generator = torch.Generator().manual_seed(n)
    x = torch.rand(n, 1, 28, 28, generator=generator)
    return Images(x, torch.arange(n) % 10, tuple("abcdefghij"), name)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    made = Data("mnist", noise(50, "mnist train"), noise(20, "mnist test"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: made)
        patch.setattr(ablation, "STEPS", 3)
        patch.setattr(ablation, "QUERIES", 5)
        yield


def plan(out: Path, **changes: object) -> AblationPlan:
    recipe = Recipe(epochs=1, batch_size=22, average=0.9, precision="fp32")
    small = AblationPlan(share=0.96, judged=3, steps=2, width=2, recipe=recipe, images=6, chosen=FEW, out=out)
    return replace(small, **changes)


def study(chosen: AblationPlan, heard: Any) -> Evaluation:
    return ablate(chosen, heard.progress)


def variant(key: str) -> Variant:
    return next(one for one in VARIANTS if one.key == key)


@pytest.fixture(scope="module")
def bench() -> AblationSetup:
    return ablation_setup.prepare(AblationPlan())


@pytest.fixture(scope="module")
def evaluation(folder: Path, heard: Any) -> Evaluation:
    return study(plan(folder), heard)


def test_the_base_is_what_ships(bench: AblationSetup) -> None:
    usual = training.through(bench.bare, Linf(0.3), augment=augmentation(bench.loaded))
    assert repr(ablation_setup.objective(AblationPlan(), variant("base"), bench)) == repr(usual)
    assert (usual.early, usual.portion, usual.ramp, usual.attack.rule.steps) == (0.6, 0.25, 0.3, 7)
    assert replace(training.named("robust-autoencoder"), epochs=4) == ablation_setup.RECIPE


def changed(one: object, other: object) -> dict[str, object]:
    """The fields of two alike dataclasses that differ, as the first has them."""
    return {name: value for name, value in vars(one).items() if repr(value) != repr(vars(other)[name])}


DIFFERS = {
    "base": {},
    "no-early": {"early": 0.0},
    "early-only": {"early": 1.0},
    "consistency": {"weights": Weights(consistency=2.0)},
    "pairing": {"weights": Weights(pairing=0.5)},
    "no-fidelity": {"weights": Weights(fidelity=0.0)},
    "no-clean": {"weights": Weights(clean=0.0)},
    "no-oblivious": {"portion": 0.0},
    "eps-at-once": {"ramp": 0.0},
    "no-augmentation": {"classify": training.Classify()},
    "no-ramp": {},
    "no-average": {},
    "unet": {"early": 0.0},
    "together": {"together": True},
}
"""Of the objective; the attacks of the others have tests of their own."""


@pytest.mark.parametrize("key", DIFFERS)
def test_a_variant_learns_from_what_it_says_and_nothing_else(key: str, bench: AblationSetup) -> None:
    small = AblationPlan()
    base, one = (ablation_setup.objective(small, variant(name), bench) for name in ("base", key))
    assert changed(one, base) == DIFFERS[key]
    recipes = changed(ablation_setup.recipe(small, variant(key)), small.recipe)
    assert recipes == ({"average": 0.0} if key == "no-average" else {})


def test_the_attacks_of_a_training_differ_as_they_say(bench: AblationSetup) -> None:
    def made(key: str) -> EndToEndPurifierLoss:
        return ablation_setup.objective(AblationPlan(), variant(key), bench)

    base, eps = made("base"), 1.05 * 0.3
    for key, name in (("one-step", "attack"), ("one-step-early", "first")):
        assert list(changed(made(key), base)) == [name]
        single = getattr(made(key), name)
        assert repr(single) == repr(pgd(Linf(eps), steps=1, size=1.25 * eps).with_goal(Last()))
    mixed = made("half-targeted")
    assert list(changed(mixed, base)) == ["attack"]
    assert repr(replace(mixed.attack, loss=cross_entropy)) == repr(base.attack)
    assert {*DIFFERS, "one-step", "one-step-early", "half-targeted"} == set(KEYS)


def test_what_learns_differs_as_it_says(bench: AblationSetup) -> None:
    small = AblationPlan()
    learns = {key: ablation_setup.untrained(small, variant(key), bench) for key in KEYS}
    base = learns["base"]
    for key, module in learns.items():
        if key == "unet":
            assert isinstance(module, defences.UNetPurifier)
            continue
        purifier = module.purifier if key == "together" else module
        assert weights.digest(purifier) == weights.digest(base)
        free = {name for name, value in purifier.named_parameters() if not value.requires_grad}
        assert free == ({"judge.ramp.low", "judge.ramp.high"} if key == "no-ramp" else set())
    other = learns["together"]
    assert isinstance(other, Pipeline)
    assert all(value.requires_grad for value in other.classifier.parameters())
    assert not any(value.requires_grad for value in bench.classifier.parameters())
    assert weights.digest(other.classifier) == weights.digest(bench.classifier)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("done", [0.1, 0.9])
def test_every_variant_can_learn(key: str, done: float, bench: AblationSetup) -> None:
    small = AblationPlan(width=2, steps=2)
    module = ablation_setup.untrained(small, variant(key), bench).train()
    loss = ablation_setup.objective(small, variant(key), bench).loss(module, bench.test.batch(slice(0, 8)), done)
    loss.backward()
    assert torch.isfinite(loss)
    assert any(value.grad is not None and bool(value.grad.any()) for value in module.parameters())


def test_names_and_files_are_different_and_every_change_is_told() -> None:
    assert len(set(KEYS)) == len({one.name for one in VARIANTS}) == len({one.says for one in VARIANTS}) == 17
    assert VARIANTS[0].name == BASE


def test_half_of_the_images_are_attacked_towards_a_class() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).eval()
    x, y = torch.rand(400, 1, 4, 4), torch.arange(400) % 5
    step = fgsm(Linf(0.001), loss=HalfTargeted()).with_goal(Last())(model, x, y).x - x

    def up(loss: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss.sum(), given)[0].sign()

    given = x.clone().requires_grad_()
    plain = (step.sign() == up(cross_entropy(model(given), y), given)).flatten(1).float().mean(1) > 0.95
    towards = torch.zeros(4, 400, dtype=torch.bool)
    for away in range(1, 5):
        given = x.clone().requires_grad_()
        wanted = up(margin_targeted(model(given), y, (y + away) % 5), given)
        towards[away - 1] = (step.sign() == wanted).flatten(1).float().mean(1) > 0.95
    assert bool((plain | towards.any(0)).all())
    only = (towards.any(0) & ~plain).float().mean()
    assert 0.35 < only < 0.55
    assert bool(towards.any(1).all())


def test_every_line_has_its_rows(evaluation: Evaluation) -> None:
    attacks = [("none", 0.0, "static"), ("fgsm", 0.6, "static"), ("apgd", 0.3, "static")]
    attacks += [(name, 0.3, "adaptive") for name in ("apgd", "apgd-dlr", "square", WORST)]
    names = ["none", *(variant(key).name for key in FEW)]
    cells = [(row.defence, row.attack, row.eps, row.protocol) for row in evaluation.rows]
    assert cells == [(name, *attack) for name in names for attack in attacks]
    for row in evaluation.rows:
        assert (row.table, row.dataset, row.n, row.norm) == ("ablation", "mnist", 6, "Linf")
        assert row.ci_low <= row.accuracy <= row.ci_high
        says = next((one.says for one in VARIANTS if one.name == row.defence), "")
        assert row.note.startswith(says)
        assert ("Trained in" in row.note) == bool(says)
    for name in names:
        own = {(row.attack, row.protocol): row.accuracy for row in evaluation.rows if row.defence == name}
        assert own[WORST, "adaptive"] <= min(own[one, "adaptive"] for one in ("apgd", "apgd-dlr", "square"))


def test_settings_hold_the_objectives_and_a_report_shows_the_table(evaluation: Evaluation, tmp_path: Path) -> None:
    assert set(evaluation.settings["objectives"]) == {variant(key).name for key in FEW}
    assert evaluation.settings["objectives"]["both learn"].startswith("EndToEndPurifierLoss(attack=")
    assert evaluation.settings["seconds of training"][BASE] > 0
    evaluation.write(tmp_path)
    (table,) = tables(read(tmp_path))
    assert [line[0] for line in table.rows] == ["no defence", *(variant(key).name for key in FEW)]
    assert len(table.headers) == 8
    assert len(table.notes) == 3
    page = to_html(evaluation)
    assert "Each ingredient of the training" in page
    assert "no attacker here knew of the defence" not in page


def test_what_is_there_is_neither_trained_nor_attacked_again(
    evaluation: Evaluation, heard: Any, again: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(heard.trained) == 3
    assert [now.done for now in heard.done] == sorted(now.done for now in heard.done)
    assert (heard.done[-1].done, heard.done[-1].total) == (4, 4)
    with monkeypatch.context() as patch:
        patch.setattr(AttemptRunner, "attempt", None)
        assert study(plan(folder), again).rows == evaluation.rows
    assert again.trained == []
    assert not list(folder.rglob("*.checkpoint"))
    fewer = study(plan(folder, images=4), again)
    assert again.trained == []
    assert {row.n for row in fewer.rows} == {4}


def test_a_purifier_that_was_trained_can_be_loaded(evaluation: Evaluation, folder: Path) -> None:
    made = defences.load(folder / "weights" / "mnist" / "ablation-base.safetensors")
    assert isinstance(made, defences.RobustAutoencoder)
    assert made.settings["width"] == 2


def test_weights_made_in_another_way_are_refused(evaluation: Evaluation, again: Any, folder: Path) -> None:
    with pytest.raises(InputError, match="but its objective differ"):
        study(plan(folder, steps=3), again)
    with pytest.raises(InputError, match="but its arguments differ"):
        study(plan(folder, width=3), again)
    with pytest.raises(InputError, match="but its trained_on differ"):
        study(plan(folder, share=0.5), again)


def test_what_cannot_be_studied_is_refused(again: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known radii"):
        study(plan(tmp_path, dataset="cifar-10"), again)
    with pytest.raises(InputError, match="expected the name of a variant"):
        study(plan(tmp_path, chosen=("no-sleep",)), again)
    with pytest.raises(InputError, match="share"):
        study(plan(tmp_path, share=0.0), again)


class KilledError(Exception):
    pass


def test_a_killed_study_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the second epoch of the second training; then the first is not even attacked again."""
    two = plan(tmp_path, recipe=Recipe(epochs=2, batch_size=22, precision="fp32"), chosen=("early-only", "no-ramp"))
    steps: dict[str, list[float]] = {}
    killed = True

    def progress(now: Progress) -> None:
        if now.inside is not None:
            steps.setdefault(now.inside.title, []).append(now.inside.done)
            if killed and "ramp" in now.inside.title and now.inside.done == now.inside.total:
                raise KilledError

    with pytest.raises(KilledError):
        ablate(two, progress)
    killed = False
    with monkeypatch.context() as patch:
        attacked: list[int] = []
        made = AttemptRunner.attempt
        patch.setattr(AttemptRunner, "attempt", lambda *args, **how: (attacked.append(1), made(*args, **how))[1])
        ablate(two, progress)
    assert steps == {"never through both, on mnist": [1, 2, 3, 4], "without the ramp, on mnist": [1, 2, 3, 4, 3, 4]}
    assert len(attacked) == 3
    found = {key: _ramp(tmp_path, key) for key in ("early-only", "no-ramp")}
    assert found["no-ramp"] == (0.0, 1.0)
    assert found["early-only"] != (0.0, 1.0)


def _ramp(folder: Path, key: str) -> tuple[float, float]:
    state, _ = weights.read(folder / "weights" / "mnist" / f"ablation-{key}.safetensors")
    return float(state["judge.ramp.low"]), float(state["judge.ramp.high"])


def test_the_command_hands_its_plan_on(
    evaluation: Evaluation, again: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[AblationPlan] = []
    monkeypatch.setattr(ablation, "ablate", lambda chosen, progress: (asked.append(chosen), evaluation)[1])
    chosen = Plan(datasets=("mnist",), tables=("ablation",), images=7, seed=3, out=tmp_path)
    found = reproduce(chosen, again.progress)
    assert found.title == ablation.TITLE
    assert found.rows == evaluation.rows
    assert found.settings["ablation, mnist"] == evaluation.settings
    assert (asked[0].images, asked[0].recipe.seed, asked[0].out) == (7, 3, tmp_path)
