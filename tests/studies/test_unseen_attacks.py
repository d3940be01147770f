"""One purifier against everything, on a handful of images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from steelman import L0, L2, Linf, data, models
from steelman.attacks import AttackLike, corruptions, ddn, fgsm, jsma, one_pixel, pgd, square
from steelman.evaluation import measure
from steelman.pipeline import Pipeline
from steelman.report import tables, to_html
from steelman.studies import published, robustness, unseen_attacks
from steelman.studies.all_defences import RADII, Entrant
from steelman.studies.paper import reproduce
from steelman.studies.paper_setup import Plan
from steelman.studies.unseen_attacks import NEVER_SEEN, BudgetedAttack

FEW = (
    BudgetedAttack(fgsm(Linf(0.1)), True, "1 step"),
    BudgetedAttack(fgsm(Linf(0.3)), True, "1 step"),
    BudgetedAttack(pgd(Linf(0.05), steps=2), True, "2 steps"),
    BudgetedAttack(square(Linf(0.1), queries=4), False, "4 queries"),
    BudgetedAttack(ddn(L2(1.0), steps=3), False, "3 steps"),
    BudgetedAttack(one_pixel(L0(1), steps=1, population=4), False, "2 generations of 4"),
    BudgetedAttack(jsma(L0(4), classes=1), False, "4 pixels"),
    BudgetedAttack(corruptions(severities=3, only=["contrast", "brightness"]), False, "severity 3"),
)


@pytest.fixture(scope="module")
def images() -> data.Images:
    return data.load("mnist").test.sample(8, 0)


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist"])
def test_every_eps_of_the_paper_is_met_and_what_was_never_seen_is_told_from_what_was(dataset: str) -> None:
    listed = unseen_attacks.trials(dataset)
    eps = {name: [t.attack.threat.eps for t in listed if t.attack.name == name] for name in ("fgsm", "pgd")}
    assert eps == {"fgsm": list(published.FGSM_EPS), "pgd": list(published.PGD_EPS)}
    assert {t.attack.name for t in listed if t.seen} == {"fgsm", "pgd"}
    unseen = {(t.attack.name, t.attack.threat.ball.name) for t in listed if not t.seen}
    assert unseen == {
        ("apgd", "Linf"),
        ("square", "Linf"),
        ("apgd", "L2"),
        ("ddn", "L2"),
        ("one-pixel", "L0"),
        ("jsma", "L0"),
        ("corruptions", "Linf"),
    }
    own = {t.attack.name: t.attack.threat.eps for t in listed}
    assert (own["square"], own["ddn"]) == RADII[dataset]
    assert all(t.budget for t in listed)


def test_the_rows_of_one_defence(images: data.Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen_attacks, "trials", lambda dataset: FEW)
    kept: list[torch.Tensor] = []
    measure_kept = unseen_attacks.kept

    def noted(pipeline: nn.Module, images: data.Images, attack: AttackLike, **how: Any) -> torch.Tensor:
        found = measure_kept(pipeline, images, attack, **how)
        kept.extend([found] if attack.name not in ("fgsm", "pgd") else [])
        return found

    monkeypatch.setattr(unseen_attacks, "kept", noted)
    heard: list[float] = []
    entrant = Entrant(Pipeline(models.load("mnist/cnn"), name="cnn"))
    rows = unseen_attacks.rows(
        entrant, images, dataset="mnist", seed=0, progress=lambda now: heard.append(now.done / now.total)
    )
    assert [row.attack for row in rows] == ["none", *(trial.attack.name for trial in FEW), NEVER_SEEN]
    assert [row.seen for row in rows] == [None, *(trial.seen for trial in FEW), False]
    assert [row.norm for row in rows[-6:]] == ["Linf", "L2", "L0", "L0", "none", "none"]
    assert [row.eps for row in rows[-6:]] == [0.1, 1.0, 1.0, 4.0, 0.0, 0.0]
    assert rows[0].accuracy == measure.right(entrant.pipeline, images.x, images.y).double().mean()
    assert rows[-1].accuracy == torch.stack(kept).all(0).double().mean()
    assert all(row.protocol == "adaptive" and row.n == 8 for row in rows)
    assert heard == sorted(heard)


def test_reproduce_sets_defences_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen_attacks, "trials", lambda dataset: FEW)
    plan = Plan(images=6, datasets=("mnist",), tables=("breadth",))
    evaluation = reproduce(plan, lambda now: None)
    (table,) = tables(evaluation)
    defended = [entrant.name for entrant in robustness.entrants("mnist", unseen_attacks.PURIFIERS)][1:]
    assert table.headers == ("Attack", "Seen in training", "May spend", "no defence", *defended)
    lines = {line[0]: line for line in table.rows}
    assert lines["no attack"][1:3] == ("–", "–")
    assert lines["FGSM at ε 0.30"][1:3] == ("yes", "1 step")
    assert lines["JSMA (L0) at ε 4"][1:3] == ("no", "4 pixels")
    assert lines[NEVER_SEEN][1] == "no"
    assert table.notes == ()
    page = to_html(evaluation)
    assert "MNIST, FGSM, adaptive" in page
    assert "MNIST, ddn (L2), adaptive" not in page
