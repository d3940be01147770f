"""Static and adaptive side by side, from one call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman import attacks, defences
from steelman.data import Images
from steelman.errors import InputError
from steelman.evaluation import checks, measure
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.evaluation.planning.attacker import DRAWS
from steelman.norms import L2, Linf
from steelman.pipeline import wrapped
from steelman.progress import Progress
from steelman.records import Case, Evaluation, Fate, Sample


def images(n: int = 40) -> Images:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 1, 8, 8, generator=generator) * 0.6 + 0.2
    return Images(x, (linear()(x)).argmax(1), ("a", "b", "c"), "noise test")


def linear() -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    layer = nn.Linear(64, 3)
    layer.weight.data = torch.randn(3, 64, generator=generator)
    layer.bias.data.zero_()
    return nn.Sequential(nn.Flatten(), layer).eval()


class Smooth(nn.Module):
    """Averages over neighbours, which takes away what an attack on the classifier alone put there."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1)


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.05 * torch.randn_like(x)


def measured(pipeline: nn.Module, data: Images, listed: Any, **settings: Any) -> Evaluation:
    """An evaluation of attacks alone, unless told."""
    bare = settings.pop("undefended", None)
    label = settings.pop("defence", "none" if bare is None else "defended")
    about = {name: settings.pop(name) for name in ("folder", "fresh", "progress") if name in settings}
    options = EvaluationOptions(**{"certify": False, "curve": False, "check": False, **settings})
    given = wrapped(pipeline, bare, classes=data.classes, input_shape=data.shape, defence=label)
    return evaluate(given if bare is None else Defended(given, bare), data, listed, options, **about)


def cells(evaluation: object) -> dict[tuple[str, str, str, float], float]:
    return {(r.defence, r.protocol, r.attack, r.eps): r.accuracy for r in evaluation.rows}  # type: ignore[attr-defined]


def test_an_undefended_model_has_adaptive_rows_alone() -> None:
    listed = [attacks.fgsm(Linf(0.1)), attacks.pgd(Linf(0.1), steps=5)]
    evaluation = measured(linear(), images(), listed, each=True)
    assert set(cells(evaluation)) == {
        ("none", "adaptive", "none", 0.0),
        ("none", "adaptive", "fgsm", 0.1),
        ("none", "adaptive", "pgd", 0.1),
        ("none", "adaptive", "worst of all", 0.1),
    }
    each = [cells(evaluation)["none", "adaptive", name, 0.1] for name in ("fgsm", "pgd")]
    assert cells(evaluation)["none", "adaptive", "worst of all", 0.1] <= min(each)
    found = attacks.fgsm(Linf(0.1))(linear(), images().x, images().y).accuracy
    assert cells(evaluation)["none", "adaptive", "fgsm", 0.1] == pytest.approx(found)
    assert evaluation.rows[0].accuracy == 1.0
    one_by_one = measured(linear(), images(), listed)
    assert [row.attack for row in one_by_one.rows] == ["none", "fgsm", "worst of all"]
    assert one_by_one.rows[-1].accuracy == evaluation.rows[-1].accuracy
    first, second = one_by_one.cases[0].breakers
    assert (first.tried, second.tried) == (40, 40 - first.broke)
    assert one_by_one.cases[0].kept == 40 - first.broke - second.broke


def test_a_defence_is_seen_from_both_sides_and_the_adaptive_attacker_differentiates_it() -> None:
    stage = defences.StraightThrough(Smooth(), backward=Smooth())
    attack = attacks.pgd(Linf(0.4), steps=20)
    evaluation = measured(defences.guard(stage, linear()), images(), attack, undefended=linear(), defence="smooth")
    found = cells(evaluation)
    assert found["smooth", "adaptive", "pgd", 0.4] < found["smooth", "static", "pgd", 0.4]
    assert {key[1] for key in found} == {"static", "adaptive"}
    assert evaluation.pictures[0].defence == "smooth"
    assert evaluation.pictures[0].images.shape == (3, 8, 8, 1)


def test_a_random_pipeline_is_found_out_averaged_and_reproducible() -> None:
    pipeline = defences.guard(Noise(), linear())
    assert measure.is_random(pipeline, images().x, images().y)
    assert not measure.is_random(linear(), images().x, images().y)
    bare, some = linear(), images()
    before = torch.get_rng_state()
    once, twice = (measured(pipeline, some, attacks.fgsm(Linf(0.05)), undefended=bare) for _ in range(2))
    assert once.rows == twice.rows
    assert any("averag" in note for note in once.notes)
    assert torch.equal(before, torch.get_rng_state())


def test_progress_ends_at_the_last_image_of_the_last_attack() -> None:
    heard: list[Progress] = []
    listed = [attacks.fgsm(Linf(0.1)), attacks.fgsm(Linf(0.2))]
    measured(linear(), images(), listed, batch=10, certify=True, progress=heard.append)
    assert [now.done for now in heard] == sorted(now.done for now in heard)
    assert heard[-1].done == heard[-1].total


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([], "expected at least one attack"),
        (replace(attacks.fgsm(Linf(0.1)), targeted=True), "expected untargeted"),
        ([attacks.pgd(Linf(0.1))] * 2, "every attack once, got pgd twice"),
        ([attacks.pgd(Linf(0.1)), attacks.pgd(Linf(0.1), steps=7)], "names of their own, got two that are called pgd"),
    ],
)
def test_wrong_attacks_are_one_clear_error(listed: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(linear(), images(), listed)  # type: ignore[arg-type]


def test_nan_logits_are_one_clear_error() -> None:
    broken = nn.Sequential(linear(), nn.Threshold(1e9, float("nan")))
    with pytest.raises(InputError, match="expected finite logits"):
        evaluate(broken, images(), attacks.fgsm(Linf(0.1)))


def test_a_tie_is_no_right_answer_with_or_without_an_attack() -> None:
    class Undecided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x.flatten(1)[:, :3]

    evaluation = measured(Undecided(), images(), attacks.pgd(Linf(0.1), steps=2))
    assert {row.accuracy for row in evaluation.rows} == {0.0}
    assert {sample.fate for sample in evaluation.cases[0].samples} == {Fate.MISCLASSIFIED}


def test_small_logits_are_read_as_large_ones() -> None:
    class Tiny(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1e-9 * bare(x)

    bare = linear()
    x, y = images().x, images().y
    assert measure.right(Tiny(), x, y).all()


def test_a_random_model_is_not_broken_by_a_lucky_draw() -> None:
    pipeline, some = defences.guard(Noise(), linear()), images()
    unattacked = measure.right(pipeline, some.x, some.y, draws=DRAWS).float().mean()
    (case,) = measured(pipeline, some, attacks.pgd(Linf(0.0), steps=20)).cases
    assert abs(case.kept / case.n - float(unattacked)) <= 0.1


def test_rows_carry_exact_intervals() -> None:
    row = measure.row(torch.tensor([True] * 95 + [False] * 5), **_fields())
    assert (row.n, row.accuracy) == (100, 0.95)
    assert (row.ci_low, row.ci_high) == pytest.approx((0.88717, 0.98357), abs=1e-4)


def _fields() -> dict[str, object]:
    return {
        "table": "evaluate",
        "dataset": "d",
        "classifier": "c",
        "defence": "none",
        "attack": "none",
        "eps": 0.0,
        "protocol": "adaptive",
    }


def test_what_no_ball_describes_stands_apart_and_a_search_without_a_radius_is_an_error() -> None:
    listed = [attacks.spatial(grid=(3, 3)), attacks.fgsm(Linf(0.1)), attacks.standard(Linf(0.1), queries=20)]
    evaluation = measured(linear(), images(), listed)
    rows = {(row.norm, row.attack): row for row in evaluation.rows}
    assert rows["none", "spatial"].eps == 0.0
    assert rows["none", "spatial"].accuracy == rows["none", "worst of all"].accuracy
    assert rows["Linf", "worst of all"].eps == 0.1
    assert rows["Linf", "worst of all"].accuracy <= rows["Linf", "fgsm"].accuracy
    with pytest.raises(InputError, match="expected a radius for ddn"):
        evaluate(linear(), images(), attacks.ddn(L2()))


def test_beside_a_cascade_the_static_figure_is_pgds() -> None:
    listed = attacks.standard(Linf(0.1), queries=20)
    evaluation = measured(defences.guard(Smooth(), linear()), images(), listed, undefended=linear())
    assert any("cascade" in note for note in evaluation.notes)
    assert cells(evaluation)["none", "static", "pgd", 0.1] < 1


def test_what_an_attacker_who_does_not_know_finds_counts_for_one_who_does() -> None:
    """A gradient that leads nowhere: what is made on the bare classifier breaks more."""

    class Astray(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach() + 1e-3 * (x - x.detach()).flip(-1)

    pipeline = defences.guard(Astray(), linear())
    evaluation = measured(pipeline, images(), attacks.fgsm(Linf(0.1)), undefended=linear())
    found = cells(evaluation)
    static = found["defended", "static", "fgsm", 0.1]
    assert static < found["defended", "adaptive", "fgsm", 0.1]
    assert found["defended", "adaptive", "worst of all", 0.1] <= static
    assert any(sample.by == "static/fgsm" for sample in evaluation.cases[0].samples)


def test_a_curve_never_rises_and_agrees_with_the_figure_at_its_eps() -> None:
    evaluation = measured(linear(), images(), [attacks.pgd(Linf(0.05)), attacks.pgd(Linf(0.08))], curve=True)
    assert [case.eps for case in evaluation.cases] == [0.05, 0.08]
    for case in evaluation.cases:
        assert case.curve is not None
        shares = [accuracy for _, accuracy, _, _ in case.curve.points]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] == case.clean / case.n
        assert {eps: accuracy for eps, accuracy, _, _ in case.curve.points}[case.eps] == case.kept / case.n
        assert case.curve.median is not None
    known = torch.tensor([sample.distance for sample in evaluation.cases[0].samples])
    ratio = known / _smallest()
    assert ratio.min() > 1 - 1e-4
    assert (ratio < 1.05).double().mean() >= 0.9


def _smallest() -> Tensor:
    """Of each image the smallest Linf change that a linear classifier needs, in closed form (no box is met)."""
    layer = linear().requires_grad_(False)[1]
    x, y = images().x.flatten(1), images().y
    gap = layer(x).gather(1, y[:, None]) - layer(x)
    slope = (layer.weight[y][:, None] - layer.weight[None]).abs().sum(2)
    return torch.where(slope > 0, gap / slope, torch.inf).amin(1)


def test_an_image_broken_at_an_eps_is_broken_at_every_larger_one() -> None:
    evaluation = measured(linear(), images(), [attacks.pgd(Linf(0.1)), attacks.fgsm(Linf(0.06))])
    small, large = evaluation.cases
    assert (small.eps, large.eps) == (0.06, 0.1)
    assert 0 < small.kept < small.n
    assert {s.index for s in small.samples if not s.kept} <= {s.index for s in large.samples if not s.kept}
    assert large.breakers[0].tried == small.kept
    rows = {(row.attack, row.eps): row.accuracy for row in evaluation.rows}
    assert rows["pgd", 0.1] == large.kept / large.n <= small.kept / small.n == rows["fgsm", 0.06]


def test_what_is_proved_is_not_attacked_and_the_bracket_is_not_crossed() -> None:
    evaluation = measured(linear(), images(), attacks.standard(Linf(0.08), queries=20), certify=True)
    (case,) = evaluation.cases
    assert case.certified_interval.certified == case.kept == int((_smallest() > 0.08).sum())
    assert case.breakers[0].tried == case.n - case.certified_interval.certified
    proved = {sample.index for sample in case.samples if sample.certified}
    attacked = measured(linear(), images(), attacks.standard(Linf(0.08), queries=20)).cases[0]
    assert proved <= {sample.index for sample in attacked.samples if sample.kept}


def _verdict(sample: Sample) -> tuple[object, ...]:
    return sample.index, sample.clean, sample.kept, sample.by, sample.backwards


@pytest.mark.parametrize("batch", [7, 16, 40])
def test_no_batch_and_no_order_changes_a_verdict(batch: int) -> None:
    some, listed = images(), [attacks.pgd(Linf(0.08), steps=5, restarts=2), attacks.square(Linf(0.08), queries=30)]
    order = torch.randperm(len(some), generator=torch.Generator().manual_seed(batch))
    one = measured(linear(), some, listed, curve=True).cases[0]
    other = measured(linear(), some.take(order), listed, curve=True, batch=batch).cases[0]
    assert 0 < one.kept < one.n
    assert [_verdict(sample) for sample in one.samples] == [_verdict(sample) for sample in other.samples]
    for mine, its in zip(one.samples, other.samples, strict=True):
        assert its.margin == pytest.approx(mine.margin, abs=1e-4)
        assert its.distance == pytest.approx(mine.distance, abs=1e-5)


def test_a_folder_keeps_the_run_and_another_run_is_refused(tmp_path: Path) -> None:
    listed = attacks.pgd(Linf(0.03), steps=5)
    one = measured(linear(), images(), listed, folder=tmp_path, curve=True)
    again = measured(linear(), images(), listed, folder=tmp_path, curve=True)
    assert (again.rows, again.cases) == (one.rows, one.cases)
    assert [picture.index for picture in again.pictures] == [picture.index for picture in one.pictures]
    with pytest.raises(InputError, match=r"expected the run that .* holds, got another options"):
        measured(linear(), images(), listed, folder=tmp_path, curve=True, seed=1)
    fresh = measured(linear(), images(), listed, folder=tmp_path, curve=True, seed=1, fresh=True)
    assert {sample.seed for sample in fresh.cases[0].samples} == {1}


@pytest.mark.parametrize("pieces", [1, 2, 5, 9, 14])
def test_a_run_that_stops_anywhere_goes_on_to_the_same_records(tmp_path: Path, pieces: int) -> None:
    listed = [attacks.pgd(Linf(0.03), steps=5), attacks.square(Linf(0.03), queries=20)]
    whole = measured(linear(), images(), listed, batch=10, curve=True)
    done = 0

    def stop(now: Progress) -> None:
        nonlocal done
        done += 1
        if done > pieces:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(linear(), images(), listed, batch=10, curve=True, folder=tmp_path, progress=stop)
    resumed = measured(linear(), images(), listed, batch=10, curve=True, folder=tmp_path)
    assert resumed.rows == whole.rows
    assert _timeless(resumed) == _timeless(whole)


def _timeless(evaluation: Evaluation) -> list[Case]:
    return [
        replace(case, breakers=tuple(replace(one, seconds=0.0) for one in case.breakers)) for case in evaluation.cases
    ]


def test_pictures_show_what_broke_first_and_what_nearly_did() -> None:
    evaluation = measured(linear(), images(), attacks.pgd(Linf(0.08)), pictures=2)
    roles = [picture.role for picture in evaluation.pictures]
    assert roles == ["broken by the smallest change"] * 2 + ["survives, nearest to breaking"] * 2
    samples = {sample.index: sample for sample in evaluation.cases[0].samples}
    broken = sorted(s.distance or 0 for s in samples.values() if not s.kept)
    assert [samples[picture.index].distance for picture in evaluation.pictures[:2]] == broken[:2]


def darkness(context: checks.CheckContext) -> checks.Finding:
    """Images are dark."""
    return checks.failed(f"{len(context.x)} images are dark.", escalate=(attacks.fgsm(context.threat),))


def test_a_check_of_ones_own_is_made_and_may_call_for_attacks(tmp_path: Path) -> None:
    asked = {"extra_checks": (darkness,), "folder": tmp_path}
    made = measured(linear(), images(), attacks.pgd(Linf(0.05)), **asked)
    assert [(one.name, one.outcome) for one in made.cases[0].checks] == [("darkness", "fail")]
    assert made.cases[0].checks[0].claim == "Images are dark."
    assert "fgsm" in {breaker.attack for breaker in made.cases[0].breakers}
    again = measured(linear(), images(), attacks.pgd(Linf(0.05)), **asked)
    assert again.cases[0].checks == made.cases[0].checks
    with pytest.raises(InputError, match="name of a check, got 'darknes'"):
        measured(linear(), images(), attacks.pgd(Linf(0.05)), extra_checks=("darknes",))
    with pytest.raises(InputError, match=r"expected the same run|another"):
        measured(linear(), images(), attacks.pgd(Linf(0.05)), folder=tmp_path)
