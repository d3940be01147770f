"""Decoupled direction and norm: a radius that shrinks where the candidate breaks and grows where it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.goals import Nearest
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, count, fraction, positive, smallest, where
from steelman.losses import cross_entropy
from steelman.norms import Ball
from steelman.threat import Threat


@dataclass(frozen=True, kw_only=True)
class DecoupledDirectionNorm:
    """Steps along the unit gradient, then onto the sphere of the sample's radius and into the box."""

    steps: int
    gamma: float
    init_norm: float

    from_input: ClassVar[bool] = True
    asks: ClassVar[Asks] = Asks.GRADIENTS

    def start(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Returns the clean images and the first radius of each."""
        return problem.x.clone(), problem.x.new_full((len(problem.x),), self.init_norm)

    def move(self, problem: Problem, state: Tensor, probe: Probe) -> tuple[Tensor, Tensor]:
        """Returns the next candidates and radii."""
        radius = torch.where(probe.margin > 0, state * (1 - self.gamma), state * (1 + self.gamma))
        radius = torch.minimum(radius, farthest(problem))
        delta = uphill(problem, probe).mul_(column(annealed(1.0, 0.01, probe.k, self.steps), probe.x))
        delta += probe.x - problem.x
        length = problem.threat.ball.size(delta).clamp_min(torch.finfo(delta.dtype).tiny)
        delta.mul_(column(radius / length, delta)).add_(problem.x)
        return delta.clamp_(problem.threat.low, problem.threat.high), radius


def uphill(problem: Problem, probe: Probe) -> Tensor:
    """Returns (N, *S): the gradient at Euclidean length one; a random direction where it is exactly zero."""
    flat = probe.grad.flatten(1)
    top = flat.abs().amax(1)
    scaled = flat / torch.where(top > 0, top, 1)[:, None]
    unit = scaled.div_(torch.linalg.vector_norm(scaled, dim=1, keepdim=True).clamp_min_(torch.finfo(flat.dtype).tiny))
    unit = unit.view_as(probe.grad)
    if bool((top == 0).any()):
        draw = problem.streams.derive("direction").derive(probe.k).normal(probe.x)
        length = torch.linalg.vector_norm(draw.flatten(1), dim=1)
        unit = where(top > 0, unit, draw / column(length, draw))
    return unit


def annealed(first: float, last: float, k: Tensor, steps: int) -> Tensor:
    """Returns (N,), float64: from first at k = 0 along half a cosine towards last at k = steps."""
    return last + (first - last) * (1 + torch.cos(math.pi / steps * k.double())) / 2


def farthest(problem: Problem) -> Tensor:
    """Returns (N,): how far a change may go at most: to the farthest corner of the box, and to the threat's radius."""
    threat, x = problem.threat, problem.x
    corner = threat.ball.size(torch.maximum(x - threat.low, threat.high - x))
    return torch.minimum(corner, torch.as_tensor(threat.eps, dtype=x.dtype, device=x.device))


def ddn(
    threat: Threat | Ball,
    *,
    steps: int = 100,
    gamma: float = 0.05,
    init_norm: float = 1.0,
    targeted: bool = False,
) -> Attack:
    """Returns decoupled direction and norm: the smallest L2 change, found by growing and shrinking the radius.

    threat: L2; its radius is how far a change may go. With levels, every candidate is shown on the grid as in the
    paper, while the change between them is not rounded, so that late steps below half a level are not lost.
    gamma: the share, below 1, by which the radius shrinks after a broken candidate and grows after another.
    init_norm: the first radius, in the images' units.
    Source: Rony et al. 2019, algorithm 1, with steps from 1 to .01 along a cosine. As in the authors' code, the next
    step starts at the candidate, put onto the sphere and into the box, not at the sum of all steps.
    """
    rule = DecoupledDirectionNorm(
        steps=count(steps), gamma=fraction(gamma, "gamma"), init_norm=positive(init_norm, "init_norm")
    )
    return Attack(
        name="ddn",
        threat=smallest(threat, "ddn", "L2"),
        rule=rule,
        loss=cross_entropy,
        targeted=targeted,
        goal=Nearest(),
    )
