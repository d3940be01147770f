"""GAMA: a margin of probabilities, relaxed at first by how far they have moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.engine.schedules import at_corner
from steelman.attacks.settings import column, count, inside
from steelman.attacks.steepest import Steepest
from steelman.losses import margin
from steelman.norms import Ball, Radius
from steelman.norms import column as radii
from steelman.threat import Threat


@dataclass(frozen=True)
class Relaxed:
    """The margin of the softmax, and a weight that fades times its squared distance from the clean image's.

    weight: at the first move.  moves: after which it is zero.
    Where the softmax rounds to one it has no gradient; 1e-20 of the logits' margin keeps the direction.
    """

    weight: float
    moves: int

    def ascend(self, problem: Problem, k: Tensor, logits: Tensor) -> Tensor:
        """Returns (N,): the relaxed margin at each sample's move."""
        found, clean = logits.softmax(1), problem.logits.softmax(1)
        left = self.weight * (1 - k / max(self.moves, 1)).clamp_min(0) * (k < self.moves)
        aim = margin(found, problem.y) + 1e-20 * margin(logits, problem.y)
        return problem.sign * aim + left.to(found.dtype) * ((found - clean) ** 2).sum(1)

    def targets(self, classes: int) -> int:
        """Returns 1."""
        return 1


@dataclass(frozen=True)
class Dropping:
    """Steps of a share of eps, divided by `by` at each of the moves `at`."""

    share: float
    at: tuple[int, ...]
    by: float

    def __call__(self, problem: Problem, k: Tensor) -> Radius:
        """Returns (N,): the size of each sample's next step."""
        return self.factor(k) * self.share * problem.threat.eps

    def factor(self, k: Tensor) -> Tensor:
        """Returns (N,): what is left of the first step."""
        passed = (k[:, None] >= torch.tensor(self.at, device=k.device)).sum(1)
        return self.by ** -passed.double()


@dataclass(frozen=True, kw_only=True)
class FrankWolfe:
    """Moves part of the way to the corner of the ball that gains most along the gradient.

    share: of the way, at the first move.
    """

    steps: int
    share: Dropping

    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = False

    def start(self, problem: Problem) -> tuple[Tensor, tuple[()]]:
        """Returns a random corner of each sample's ball, clipped to the box."""
        return at_corner(problem), ()

    def move(self, problem: Problem, state: tuple[()], probe: Probe) -> tuple[Tensor, tuple[()]]:
        """Returns the next candidates."""
        part = column(self.share.share * self.share.factor(probe.k), probe.x)
        corner = problem.threat.steepest(probe.grad, at=probe.x) * radii(problem.threat.eps, probe.x)
        return problem.threat.project(probe.x.lerp(problem.x + corner, part), around=problem.x), state


def gama(threat: Threat | Ball, *, steps: int = 100, restarts: int = 1, targeted: bool = False) -> Attack:
    """Returns GAMA-PGD: signed steps of 2 eps, a tenth of it from 60 % of them on and a hundredth from 85 %.

    The weight of the relaxation falls from 50 to 0 over the first quarter of the steps.
    Source: Sriramanan et al. 2020 (Guided adversarial attack), eq. 1 and section 4, with the numbers of its code. As in
    the paper the relaxation is measured from the clean image's softmax; the code takes that of the random start.
    """
    rule = Steepest(steps=count(steps), size=Dropping(2.0, _drops(steps), 10.0), start_at=at_corner)
    return Attack(
        name="gama",
        threat=inside(threat, "gama", "Linf"),
        rule=rule,
        loss=_guide(steps),
        targeted=targeted,
        restarts=count(restarts, "restarts"),
    )


def gama_fw(threat: Threat | Ball, *, steps: int = 100, restarts: int = 1, targeted: bool = False) -> Attack:
    """Returns GAMA-FW: Frank-Wolfe moves of half the way, a fifth of it from 60 % of them on and a 25th from 85 %.

    Source: Sriramanan et al. 2020 (Guided adversarial attack), section 4, with the numbers of its code; see `gama`.
    """
    return Attack(
        name="gama-fw",
        threat=inside(threat, "gama-fw", "Linf"),
        rule=FrankWolfe(steps=count(steps), share=Dropping(0.5, _drops(steps), 5.0)),
        loss=_guide(steps),
        targeted=targeted,
        restarts=count(restarts, "restarts"),
    )


def _guide(steps: int) -> Relaxed:
    return Relaxed(50.0, round(0.25 * steps))


def _drops(steps: int) -> tuple[int, ...]:
    return (max(1, round(0.6 * steps)), max(1, round(0.85 * steps)))
