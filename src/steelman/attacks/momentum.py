"""MI-FGSM: steepest ascent along gradients that add up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.guides import Guide
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import count, inside
from steelman.errors import InputError
from steelman.losses import Loss, cross_entropy
from steelman.norms import Ball, column
from steelman.threat import Threat


@dataclass(frozen=True, kw_only=True)
class Momentum:
    """Steps of eps / steps along the sum of all gradients so far, each of L1 norm one, the older ones fading.

    momentum: what is left of the sum after a step; 0 for none, 1 for all of it.
    """

    steps: int
    momentum: float

    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = True

    def start(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Returns the clean images, and a sum of nothing."""
        return problem.x.clone(), torch.zeros_like(problem.x)

    def move(self, problem: Problem, state: Tensor, probe: Probe) -> tuple[Tensor, Tensor]:
        """Returns the next candidates, and the sum with the new gradient in it."""
        total = _unit(probe.grad).add_(state, alpha=self.momentum)
        size = column(problem.threat.eps, probe.x) / self.steps
        step = problem.threat.steepest(total, at=probe.x) * size
        return problem.threat.project(step.add_(probe.x), around=problem.x), total


def mifgsm(
    threat: Threat | Ball,
    *,
    steps: int = 10,
    momentum: float = 1.0,
    targeted: bool = False,
    loss: Loss | Guide = cross_entropy,
) -> Attack:
    """Returns the momentum iterative fast gradient method: steps of eps / steps along the gathered gradients.

    momentum: the decay factor mu of the paper.
    Source: Dong et al. 2018 (Boosting adversarial attacks with momentum), algorithm 1 and section 3.3; steps and
    momentum as in its section 4.
    """
    if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum < math.inf:
        raise InputError(f"expected momentum as a number >= 0, got {momentum!r}")
    rule = Momentum(steps=count(steps), momentum=float(momentum))
    return Attack(
        name="mi-fgsm", threat=inside(threat, "mi-fgsm", "Linf", "L2"), rule=rule, loss=loss, targeted=targeted
    )


def _unit(grad: Tensor) -> Tensor:
    """Each sample's gradient over its L1 norm; zero where it is zero. Scaled first, as norms of tiny values vanish."""
    flat = grad.flatten(1)
    top = flat.abs().amax(1, keepdim=True)
    scaled = flat / torch.where(top > 0, top, 1)
    return scaled.div_(scaled.abs().sum(1, keepdim=True).clamp_min_(1)).view_as(grad)
