"""What holds, on a handful of images and with attacks of two steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from steelman import Linf, data, defences, models
from steelman.attacks import AttackLike, apgd, pgd
from steelman.errors import InputError
from steelman.evaluation.running.attempt_runner import AttemptRunner
from steelman.pipeline import Pipeline
from steelman.progress import Progress
from steelman.records import WORST, Evaluation, read
from steelman.report import tables, to_html
from steelman.studies import comparison_figure, robustness
from steelman.studies.all_defences import Entrant
from steelman.studies.paper import reproduce
from steelman.studies.paper_setup import Plan
from steelman.studies.presentation import OURS, PAPERS, presentation

FOUR = [("none", "static"), ("pgd", "static"), (WORST, "adaptive"), (WORST, "certified")]


def quick(dataset: str, *, random: bool = False) -> tuple[AttackLike, ...]:
    return pgd(Linf(0.3), steps=2), apgd(Linf(0.3), steps=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "attacks", quick)
    monkeypatch.setattr(
        comparison_figure,
        "attack",
        lambda dataset: comparison_figure.apgd(Linf(0.3), steps=8).with_goal(comparison_figure.Worst()),
    )


@pytest.fixture(scope="module")
def images() -> data.Images:
    return data.load("mnist").test.sample(6, 0)


@pytest.fixture(scope="module")
def bare() -> nn.Module:
    return models.load("mnist/cnn")


def measured(
    entrant: Entrant, images: data.Images, bare: nn.Module, folder: Path | None = None
) -> list[robustness.Row]:
    how = {"dataset": "mnist", "bare": bare, "oblivious": {}, "folder": folder, "seed": 0}
    return robustness.rows(entrant, images, **how, progress=lambda now: None)


def test_of_a_purifier_there_are_four_figures_of_the_same_images(images: data.Images, bare: nn.Module) -> None:
    _, paper, unet = robustness.entrants("mnist", (robustness.PUBLISHED, "unet"))
    rows = measured(unet, images, bare)
    assert [(row.attack, row.protocol) for row in rows] == FOUR
    assert {(row.table, row.dataset, row.classifier, row.defence, row.n) for row in rows} == {
        ("holds", "mnist", "cnn", "unet", 6)
    }
    clean, static, adaptive, certified = (row.accuracy for row in rows)
    assert clean >= static > adaptive == certified == 0.0
    assert [row.eps for row in rows] == [0.0, 0.3, 0.3, 0.3]
    assert "prove none" in rows[-1].note
    assert [row.note for row in rows[:2]] == ["", ""]
    assert rows[2].note.startswith("Verdict: ")
    rows = measured(paper, images, bare)
    assert all("mean of 10 answers" in row.note for row in rows[:-1])
    assert "Nothing is proved. It answers at random" in rows[-1].note


def test_the_papers_own_attacks_are_static_figures_too(images: data.Images, bare: nn.Module) -> None:
    made = robustness.published_attacks(bare, images, seed=0)
    assert [*made] == [("fgsm", 0.6), ("pgd", 0.15)]
    for (_, eps), x_adv in made.items():
        assert (x_adv - images.x).abs().max() <= eps + 1e-6
    _, unet = robustness.entrants("mnist", ("unet",))
    how = {"dataset": "mnist", "bare": bare, "oblivious": made, "folder": None, "seed": 0}
    rows = robustness.rows(unet, images, **how, progress=lambda now: None)
    found = {(row.attack, row.eps): row for row in rows if row.protocol == "static"}
    assert [*found] == [("none", 0.0), ("pgd", 0.3), ("fgsm", 0.6), ("pgd", 0.15)]
    pipeline = defences.guard(defences.load("mnist/unet"), bare)
    for key, x_adv in made.items():
        assert found[key].accuracy == float((pipeline(x_adv).argmax(1) == images.y).double().mean())
    shown = presentation(["holds"])
    (table,) = tables(Evaluation(title="t", rows=tuple(rows), settings={}, versions={}, presentation=shown))
    assert table.headers[1:4] == ("clean", "static, PGD at ε 0.30", "static, FGSM at ε 0.60")


def test_what_is_proved_is_counted_and_needs_no_reason(images: data.Images, bare: nn.Module) -> None:
    steady = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()
    with torch.no_grad():
        steady[1].weight.mul_(1e-4)
        steady[1].bias.copy_(torch.eye(10)[int(images.labels[0])])
    rows = measured(Entrant(Pipeline(steady, name="steady")), images, bare)
    share = float((images.labels == images.labels[0]).double().mean())
    assert [row.accuracy for row in rows] == [share] * 4
    assert rows[-1].note == ""


def test_a_killed_run_goes_on_and_another_run_is_refused(
    images: data.Images, bare: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plain,) = robustness.entrants("mnist", ())
    made = AttemptRunner.attempt

    def killed(*given: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(AttemptRunner, "attempt", killed)
    with pytest.raises(KeyboardInterrupt):
        measured(plain, images, bare, tmp_path)
    monkeypatch.setattr(AttemptRunner, "attempt", made)
    first = measured(plain, images, bare, tmp_path)
    for name in ("clean", "static", "attempt"):
        monkeypatch.setattr(AttemptRunner, name, killed)
    assert measured(plain, images, bare, tmp_path) == first
    with pytest.raises(InputError, match="holds"):
        measured(plain, images.take(torch.arange(3)), bare, tmp_path)


def test_it_takes_what_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    for dataset in ("mnist", "fashion-mnist"):
        found = [
            (e.name, e.classifier)
            for e in robustness.entrants(dataset, robustness.PURIFIERS, robustness.CLASSIFIERS[dataset])
        ]
        assert found[:3] == [("none", "cnn"), (robustness.PUBLISHED, "cnn"), ("unet", "cnn")]
        assert found[-1] == ("PGD training", *robustness.CLASSIFIERS[dataset])
    own = ["mnist/robust-autoencoder", "mnist/conv-autoencoder-pgd", "mnist/unet", "fashion-mnist/conv-autoencoder-pgd"]
    own += ["fashion-mnist/unet"]
    load = defences.load
    monkeypatch.setattr(defences, "shipped", lambda: own)
    monkeypatch.setattr(
        defences, "load", lambda name: defences.RobustAutoencoder().eval() if "robust" in name else load(name)
    )
    theirs, ours = comparison_figure.pair("mnist")
    assert (theirs.name, ours.name) == (robustness.PUBLISHED, "robust-autoencoder")
    assert comparison_figure.pair("fashion-mnist")[1].name == "unet"
    assert [e.name for e in robustness.entrants("mnist")] == [
        "none",
        robustness.PUBLISHED,
        "unet",
        "robust-autoencoder",
    ]


def test_the_same_images_stand_before_both_purifiers(images: data.Images) -> None:
    theirs, ours = comparison_figure.pair("mnist")
    against = comparison_figure.attack("mnist")
    heard: list[float] = []
    hear = lambda now: heard.append(now.done / now.total)  # noqa: E731
    shown = comparison_figure.pictures(theirs, ours, images, against=against, seed=0, progress=hear)
    assert [(p.role, p.defence) for p in shown[:2]] == [(PAPERS, theirs.name), (OURS, ours.name)]
    assert [p.index for p in shown[::2]] == [p.index for p in shown[1::2]]
    assert len({p.label for p in shown}) == len(shown) // 2 > 1
    assert all((p.images[0] == q.images[0]).all() for p, q in zip(shown[::2], shown[1::2], strict=True))
    assert all(p.readings[0][0] == p.label and p.protocol == "adaptive" for p in shown)
    assert all(abs(p.images[1].astype(int) - p.images[0]).max() <= 77 for p in shown)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    again = comparison_figure.pictures(theirs, ours, images, against=against, seed=0, progress=hear)
    assert [p.readings for p in again] == [p.readings for p in shown]


def test_where_nothing_is_read_right_nothing_is_shown(images: data.Images) -> None:
    theirs, ours = comparison_figure.pair("mnist")
    wrong = data.Images(images.images, (images.labels + 1) % 10, images.classes, images.name, images.indices)
    assert (
        comparison_figure.pictures(
            theirs, ours, wrong, against=comparison_figure.attack("mnist"), seed=0, progress=print
        )
        == []
    )


def test_reproduce_draws_the_grid_and_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "CLASSIFIERS", {"mnist": ()})

    heard: list[Progress] = []
    plan = Plan(images=6, datasets=("mnist",), tables=("holds",), classifier="vgg16", out=tmp_path)
    evaluation = reproduce(plan, heard.append)
    assert [now.done for now in heard] == sorted(now.done for now in heard)
    assert not any(now.inside for now in heard)
    assert (tmp_path / "holds" / "mnist" / "unet" / "run.sqlite").is_file()
    assert any("apgd" in attack for attack in evaluation.settings["holds, mnist"])
    evaluation.write(tmp_path)
    evaluation = read(tmp_path)
    (table,) = tables(evaluation)
    known = ("static, PGD at ε 0.30", "static, FGSM at ε 0.60", "static, PGD at ε 0.15")
    assert table.headers == ("Defence", "clean", *known, "adaptive worst", "certified")
    assert [line[0] for line in table.rows] == ["no defence", *(e.name for e in list(robustness.entrants("mnist"))[1:])]
    assert "n = 6 images" in table.caption
    assert "Protocol" not in table.caption
    page = to_html(evaluation)
    assert "The same attack, before the paper" in page
    assert '<td class="told wrong">✗ wrong<span class="as">as ' in page
    assert 'id="pictures"' not in page
