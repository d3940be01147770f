"""Does the loss rise along an attack?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from steelman.attacks import Worst, pgd
from steelman.attacks.engine.estimators import Ascend, Estimator
from steelman.attacks.engine.problem import Problem
from steelman.attacks.engine.schedules import at_input
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.recheck import first, way
from steelman.evaluation.checks.trust_check import failed, passed
from steelman.evaluation.padding import PadBatch
from steelman.losses import margin
from steelman.records import Trust
from steelman.victim import Answer, Victim

_STEPS = 20


@dataclass(frozen=True, eq=False)
class Recorded:
    """Asks as another estimator does and notes what was ascended, look after look; each entry (N,)."""

    inner: Estimator
    values: list[Tensor] = field(default_factory=list)

    @property
    def differentiates(self) -> bool:
        """Whether the inner one does."""
        return self.inner.differentiates

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): the logits."""
        return self.inner.look(victim, x, y)

    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer:
        """Returns the answer of the inner estimator, and notes its value."""
        found = self.inner.answer(victim, problem, x, k, ascend)
        self.values.append(found.value)
        return found


def trajectory(context: CheckContext, rows: Tensor) -> Tensor:
    """Returns (steps, N): the margin along PGD from the images, which goes on after an image is broken.

    Raises InputError where no gradient comes through.
    """
    x, y, indices = context.take(rows)
    through = way(context)
    note = Recorded(through.gradient)
    attack = replace(pgd(context.threat, steps=_STEPS, start=at_input, loss=margin), goal=Worst(), gradient=note)
    attack(PadBatch(through.model), x, y, seed=context.seed, indices=indices, slots=len(x))
    return torch.stack(note.values)


def loss(context: CheckContext) -> Finding:
    """Returns whether the loss rises along an attack.

    It does not where on half of the images or more it ends no higher than it began, or has lost more than half of what
    it rose: then the gradient leads nowhere, and nothing is known of what a better guide would find. Images are
    counted, since a single one that breaks, or goes back, moves the mean by more than all that hold.
    """
    rows = first(context, 64)
    path = trajectory(context, rows).double()
    begun, top, end = path[0], path.amax(0), path[-1]
    rose = end > begun
    kept = rose & (end - begun >= (top - begun) / 2)
    message = (
        f"Over {len(path)} steps of PGD on {len(rows)} images the mean margin goes from {float(begun.mean()):.3g} to "
        f"{float(end.mean()):.3g}; it rises on {int(rose.sum())} of them, and on {int(kept.sum())} it keeps at least "
        "half of its highest rise."
    )
    return passed(message) if 2 * int(kept.sum()) > len(rows) else failed(message, on_fail=Trust.CANNOT_TELL)
