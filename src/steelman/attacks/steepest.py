"""Projected steepest ascent: FGSM, BIM and PGD."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.guides import Guide
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.engine.schedules import Fixed, OfEps, Schedule, Start, at_input, at_random
from steelman.attacks.reprs import by_name
from steelman.attacks.settings import count, inside, largest, positive
from steelman.errors import InputError
from steelman.losses import Loss, cross_entropy
from steelman.norms import Ball, column
from steelman.threat import Threat


@dataclass(frozen=True, kw_only=True)
class Steepest:
    """Projected steepest ascent; FGSM, BIM and PGD are this rule with other numbers."""

    steps: int
    size: Schedule
    start_at: Start = at_input

    asks: ClassVar[Asks] = Asks.GRADIENTS

    __repr__ = by_name

    @property
    def from_input(self) -> bool:
        """Whether it starts at the clean image."""
        return self.start_at is at_input

    def start(self, problem: Problem) -> tuple[Tensor, tuple[()]]:
        """Returns the first candidates; there is no state."""
        return self.start_at(problem), ()

    def move(self, problem: Problem, state: tuple[()], probe: Probe) -> tuple[Tensor, tuple[()]]:
        """Returns the next candidates: a step up the gradient, then back into the threat."""
        step = problem.threat.steepest(probe.grad, at=probe.x).mul_(column(self.size(problem, probe.k), probe.x))
        return problem.threat.project(step.add_(probe.x), around=problem.x), state


def fgsm(threat: Threat | Ball, *, targeted: bool = False, loss: Loss | Guide = cross_entropy) -> Attack:
    """Returns the fast gradient sign method: one step of length eps from the clean image.

    threat: Linf as in the paper, or another ball, whose steepest move is then taken.
    Source: Goodfellow et al. 2015, section 4.
    """
    rule = Steepest(steps=1, size=OfEps(1.0), start_at=at_input)
    return Attack(
        name="fgsm", threat=inside(threat, "fgsm", "Linf", "L2", "L1"), rule=rule, loss=loss, targeted=targeted
    )


def bim(
    threat: Threat | Ball,
    *,
    steps: int | None = None,
    size: float | None = None,
    targeted: bool = False,
    loss: Loss | Guide = cross_entropy,
) -> Attack:
    """Returns the basic iterative method: small steps from the clean image, each clipped to the threat.

    steps, size: the paper's unless told, which it gives for Linf: steps of one grey level (1/255 of the box) and
    min(eps + 4, 1.25 eps) of them, eps in grey levels. With one of them given, the other follows so that
    steps · size = eps.
    Raises InputError for another norm if neither is given.
    Source: Kurakin et al. 2017 (Adversarial examples in the physical world), section 2.2.
    """
    threat = inside(threat, "bim", "Linf", "L2", "L1")
    level = (threat.high - threat.low) / 255
    if steps is None and size is None:
        if threat.ball.name != "Linf" or not math.isfinite(level):
            raise InputError(
                f"expected steps or size for BIM with {threat.ball.name}: its paper has Linf on pixels alone"
            )
        levels = min(largest(threat.eps), threat.high - threat.low) / level
        steps, size = max(1, math.ceil(min(levels + 4, 1.25 * levels) - 1e-4)), level
    elif steps is None:
        assert size is not None
        steps = max(1, math.ceil(largest(threat.eps) / positive(size, "size") - 1e-4))
    rule = Steepest(steps=steps, size=Fixed(positive(size, "size")) if size is not None else OfEps(1 / count(steps)))
    return Attack(name="bim", threat=threat, rule=rule, loss=loss, targeted=targeted)


def pgd(
    threat: Threat | Ball,
    *,
    steps: int = 40,
    size: float | None = None,
    restarts: int = 1,
    start: Start = at_random,
    targeted: bool = False,
    loss: Loss | Guide = cross_entropy,
) -> Attack:
    """Returns projected gradient descent: steepest ascent from a random point of the ball, begun again for what holds.

    size: of a step, in the images' units; unless told 4/3 eps / steps, the paper's .01 at its eps .3 and 40 steps. All
    of them together cannot cross the ball, so that for a size of one's own 2.5 eps / steps is a good beginning.
    start: at_random, or at_input, from which restarts are all alike.
    Source: Madry et al. 2018, section 5 (MNIST).
    """
    if start is at_input and restarts > 1:
        raise InputError(f"expected start=at_random with {restarts} restarts: from the input each is the same")
    schedule = Fixed(positive(size, "size")) if size is not None else OfEps(4 / (3 * count(steps)))
    rule = Steepest(steps=count(steps), size=schedule, start_at=start)
    return Attack(
        name="pgd",
        threat=inside(threat, "pgd", "Linf", "L2", "L1"),
        rule=rule,
        loss=loss,
        targeted=targeted,
        restarts=count(restarts, "restarts"),
    )
