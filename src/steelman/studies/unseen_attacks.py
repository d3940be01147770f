"""One purifier against everything: every eps of the paper, other norms, single pixels, no gradients, bad weather."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from steelman.attacks import AttackLike, apgd, corruptions, ddn, fgsm, jsma, one_pixel, pgd, square
from steelman.data import Images
from steelman.evaluation import measure
from steelman.losses import margin
from steelman.norms import L0, L2, Linf
from steelman.progress import OnProgress, part
from steelman.records import Row
from steelman.studies import published
from steelman.studies.all_defences import RADII, Entrant
from steelman.studies.measured import kept

TABLE = "breadth"

NEVER_SEEN = "worst of those never seen"
"""What the attack of a row is called that counts what survives every attack that was not trained on."""

PURIFIERS = ("unet", "robust-autoencoder", "certified-autoencoder")

STEPS, LONG = 40, 100
"""Of PGD and in L2; of Auto-PGD in Linf."""

ENTRIES, TARGETS = 24, 3
"""That JSMA may change, and the classes that it tries for each image."""

GENERATIONS, POPULATION = 10, 40
"""Of the one-pixel attack."""

QUERIES, SEVERITY = 300, 3
"""Of Square; of the corruptions, from 1 to 5."""

COST = 1500
"""Passes for each image, roughly."""


@dataclass(frozen=True)
class BudgetedAttack:
    """One attack of the table.

    seen: whether purifiers were trained on its kind.  budget: what it may spend on an image, in words.
    """

    attack: AttackLike
    seen: bool
    budget: str


def trials(dataset: str) -> tuple[BudgetedAttack, ...]:
    """Returns what every defence meets: FGSM and PGD in Linf, which are trained on, then what is not.

    They climb the margin, which no scale of the logits flattens; all go through the whole pipeline.
    """
    eps, radius = RADII[dataset]
    steps, few = f"{STEPS} steps", f"{GENERATIONS} generations of {POPULATION}"
    return (
        *(BudgetedAttack(fgsm(Linf(each), loss=margin), True, "1 step") for each in published.FGSM_EPS),
        *(BudgetedAttack(pgd(Linf(each), steps=STEPS, loss=margin), True, steps) for each in published.PGD_EPS),
        BudgetedAttack(apgd(Linf(eps), steps=LONG, loss=margin), False, f"{LONG} steps"),
        BudgetedAttack(square(Linf(eps), queries=QUERIES), False, f"{QUERIES} queries"),
        BudgetedAttack(apgd(L2(radius), steps=STEPS, loss=margin), False, steps),
        BudgetedAttack(ddn(L2(radius), steps=STEPS), False, steps),
        BudgetedAttack(one_pixel(L0(1), steps=GENERATIONS, population=POPULATION), False, few),
        BudgetedAttack(jsma(L0(ENTRIES), classes=TARGETS), False, f"{ENTRIES} pixels, {TARGETS} classes"),
        BudgetedAttack(corruptions(severities=SEVERITY), False, f"severity {SEVERITY}, the worst of all kinds"),
    )


def rows(entrant: Entrant, images: Images, *, dataset: str, seed: int, progress: OnProgress) -> list[Row]:
    """Returns the figures of one defence: clean, under each attack, and under all that it was never trained on.

    An attack that looks for the smallest change has broken an image where one within its radius does.
    """
    x, y = measure.on(entrant.pipeline, images)

    def row(held: Tensor, attack: str, eps: float, norm: str, seen: bool | None, note: str) -> Row:
        return measure.row(
            held,
            table=TABLE,
            dataset=dataset,
            classifier=entrant.classifier,
            defence=entrant.name,
            attack=attack,
            eps=eps,
            protocol="adaptive",
            norm=norm,
            seen=seen,
            note=note,
        )

    found = [row(measure.right(entrant.pipeline, x, y, seed=seed), "none", 0.0, "Linf", None, "")]
    listed = trials(dataset)
    unseen = torch.ones(len(x), dtype=torch.bool)
    for at, trial in enumerate(listed):
        told = part(progress, at, len(listed))
        held = kept(entrant.pipeline, images, trial.attack, seed=seed, progress=told)
        ball = trial.attack.threat.ball
        inside = math.isfinite(float(trial.attack.threat.eps))
        where = (float(ball.eps), ball.name) if inside else (0.0, "none")
        found.append(row(held, trial.attack.name, *where, trial.seen, trial.budget))
        if not trial.seen:
            unseen &= held
    last = row(unseen, NEVER_SEEN, 0.0, "none", False, "each of these")
    return [*found, replace(last, worst_case=True)]
