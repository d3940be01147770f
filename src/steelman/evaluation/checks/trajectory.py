"""Does the loss rise along an attack?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from steelman.attacks import Worst, pgd
from steelman.attacks.gradients import Ascend, Estimator
from steelman.attacks.problem import Problem
from steelman.attacks.schedules import at_input
from steelman.evaluation.checks.claims import failed, passed
from steelman.evaluation.checks.subject import Finding, Subject
from steelman.evaluation.checks.trial import first, way
from steelman.evaluation.even import Even
from steelman.losses import margin
from steelman.victim import Answer, Victim

_STEPS = 20


@dataclass(frozen=True, eq=False)
class Recorded:
    """Asks as another estimator does and notes what was ascended, look after look; each entry (N,)."""

    inner: Estimator
    values: list[Tensor] = field(default_factory=list)

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): the logits."""
        return self.inner.look(victim, x, y)

    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer:
        """Returns the answer of the inner estimator, and notes its value."""
        found = self.inner.answer(victim, problem, x, k, ascend)
        self.values.append(found.value)
        return found


def trajectory(subject: Subject, rows: Tensor) -> Tensor:
    """Returns (steps, N): the margin along PGD from the images, which goes on after an image is broken.

    Raises InputError where no gradient comes through.
    """
    x, y, indices = subject.take(rows)
    through = way(subject)
    note = Recorded(through.gradient)
    attack = replace(pgd(subject.threat, steps=_STEPS, start=at_input, loss=margin), goal=Worst(), gradient=note)
    attack(Even(through.model), x, y, seed=subject.seed, indices=indices, slots=len(x))
    return torch.stack(note.values)


def loss(subject: Subject) -> Finding:
    """Returns whether the loss rises along an attack.

    It does not where it ends no higher than it began on most images, or has lost half of its rise at the end: then the
    gradient leads nowhere, and nothing is known of what a better guide would find.
    """
    name = "loss"
    rows = first(subject, 64)
    path = trajectory(subject, rows)
    mean = path.double().mean(1)
    begun, top, end = float(mean[0]), float(mean.max()), float(mean[-1])
    rose = int((path[-1] > path[0]).sum())
    told = (
        f"Over {len(path)} steps of PGD on {len(rows)} images the mean margin goes from {begun:.3g} to {end:.3g}, "
        f"its highest {top:.3g}; it rises on {rose} of them."
    )
    fine = 2 * rose > len(rows) and end > begun and end - begun >= (top - begun) / 2
    return passed(name, told) if fine else failed(name, told, says="cannot tell")
