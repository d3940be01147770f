"""DeepFool: step after step onto the nearest of the linearised boundaries, until the image is across."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.goals import Nearest
from steelman.attacks.engine.guides import relevant
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, count, smallest
from steelman.errors import InputError
from steelman.norms import Ball
from steelman.threat import Threat

NUDGE = 1e-4
"""What the authors' code adds to the length of each step, without which steps shrink before they cross."""


@dataclass(frozen=True, kw_only=True)
class DeepFool:
    """Steps to the nearest of the planes between the class y and its rivals, a little too far.

    candidates: how many rivals are looked at, by the logits where the sample is.
    """

    steps: int
    overshoot: float
    candidates: int

    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = True

    def start(self, problem: Problem) -> tuple[Tensor, tuple[()]]:
        """Returns the clean images; there is no state."""
        return problem.x.clone(), ()

    def heads(self, problem: Problem, logits: Tensor) -> Tensor:
        """Returns (N, C): how far each rival's logit is ahead of that of y.

        By class, not by rank, so that the draws of a random model can be averaged.
        """
        rivals = relevant(problem, logits, self.candidates).sort(dim=1).values
        return logits.gather(1, rivals) - logits.gather(1, problem.y[:, None])

    def move(self, problem: Problem, state: tuple[()], probe: Probe) -> tuple[Tensor, tuple[()]]:
        """Returns the next candidates: the sum of all steps so far, 1 + overshoot times, in the box."""
        threat = problem.threat
        slope = torch.linalg.vector_norm(probe.grad.flatten(2), ord=threat.ball.dual, dim=2)
        distance = probe.value.abs().to(slope) / slope.clamp_min(torch.finfo(slope.dtype).tiny)
        nearest = distance.argmin(1)
        each = torch.arange(len(nearest), device=nearest.device)
        length = (1 + self.overshoot) * (distance[each, nearest] + NUDGE)
        step = threat.ball.steepest(probe.grad[each, nearest]) * column(length, probe.x)
        return (probe.x + step.nan_to_num(0)).clamp(threat.low, threat.high), state

    def done(self, problem: Problem, state: tuple[()], probe: Probe) -> Tensor:
        """Returns (N,) bool: what is across."""
        return probe.margin > 0


def deepfool(threat: Threat | Ball, *, steps: int = 50, overshoot: float = 0.02, candidates: int = 10) -> Attack:
    """Returns DeepFool, which looks for a small change fast, eps or none given; it ends with the first that breaks.

    steps: at most, each of one pass forwards and one back for each candidate.
    overshoot: how much further than onto the boundary every step goes; the image that is judged has it in.
    candidates: how many rival classes are looked at, the likeliest of the moment first. The paper looks at all, and its
    code at the 10 likeliest of the clean image. With five of nine the changes come out about as small in half the time.
    Source: Moosavi-Dezfooli et al. 2016, algorithm 2; for Linf, section 3.3. Clipped to the box after each step, as
    others do.
    """
    if isinstance(overshoot, bool) or not isinstance(overshoot, int | float) or not 0 <= overshoot < math.inf:
        raise InputError(f"expected overshoot as a number >= 0, got {overshoot!r}")
    rule = DeepFool(steps=count(steps), overshoot=float(overshoot), candidates=count(candidates, "candidates"))
    return Attack(name="deepfool", threat=smallest(threat, "deepfool", "Linf", "L2"), rule=rule, goal=Nearest())
