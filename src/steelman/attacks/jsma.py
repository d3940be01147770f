"""JSMA, the saliency map attack: two entries at a time, those that lead most to a wanted class."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.goals import First
from steelman.attacks.engine.guides import EachTarget
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import count, share, smallest
from steelman.errors import InputError
from steelman.losses import others
from steelman.norms import Ball
from steelman.threat import Threat


@dataclass(frozen=True, kw_only=True)
class SaliencyMap:
    """Adds theta to the two most salient entries that the box does not stop, until the class is reached.

    gamma: the share of an image's entries that may be changed, beside the radius of the ball.

    The map of the paper (eq. 8 to 10) scores a pair of entries, p and q, by (a_p + a_q) · |b_p + b_q| where the first
    sum is positive and the second negative; a is the gradient of the wanted class's output, b that of the sum of the
    others. Outputs are probabilities, as in the authors' code, so that b = -a, the score is (a_p + a_q)², and the best
    of all pairs are the two largest entries of a, which no table of pairs is needed for. Those of the log-odds are the
    same two: its gradient is a positive multiple of a, which does not vanish where the softmax is sure.
    """

    theta: float
    gamma: float

    steps: ClassVar[int] = sys.maxsize
    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = True

    def start(self, problem: Problem) -> tuple[Tensor, tuple[()]]:
        """Returns the clean images; there is no state."""
        return problem.x.clone(), ()

    def move(self, problem: Problem, state: tuple[()], probe: Probe) -> tuple[Tensor, tuple[()]]:
        """Returns the next candidates, with two more entries changed."""
        flat = probe.x.flatten(1)
        saliency = math.copysign(1.0, self.theta) * probe.grad.flatten(1)
        pair = saliency.masked_fill(self._stopped(problem, probe), -torch.inf).topk(min(2, flat.shape[1])).indices
        moved = flat.scatter_add(1, pair, torch.full_like(pair, self.theta, dtype=flat.dtype))
        return moved.clamp(problem.threat.low, problem.threat.high).view_as(probe.x), state

    def done(self, problem: Problem, state: tuple[()], probe: Probe) -> Tensor:
        """Returns (N,) bool: what is broken, may not change two more entries, or has none that the box lets move."""
        entries = self.gamma * probe.x[0].numel()
        most = torch.as_tensor(problem.threat.eps, device=probe.k.device).clamp_max(entries)
        return (probe.margin > 0) | (2 * (probe.k + 1) > most) | self._stopped(problem, probe).all(1)

    def _stopped(self, problem: Problem, probe: Probe) -> Tensor:
        flat = probe.x.flatten(1)
        return flat >= problem.threat.high if self.theta > 0 else flat <= problem.threat.low


def against(logits: Tensor, y: Tensor) -> Tensor:
    """Returns (N,): the log-odds against class y in the softmax of logits, (N, K)."""
    return others(logits, y).logsumexp(1) - logits.gather(1, y[:, None]).squeeze(1)


def towards(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Returns (N,): the log-odds of the target class in the softmax of logits, (N, K)."""
    return -against(logits, target)


def jsma(
    threat: Threat | Ball,
    *,
    theta: float = 1.0,
    gamma: float = 0.145,
    classes: int | None = None,
    targeted: bool = False,
) -> Attack:
    """Returns the Jacobian-based saliency map attack, which changes few entries by much, eps or none given.

    theta: what is added to each of two entries a step, in the images' units; negative to take away.
    gamma: the share of the entries that may be changed, in (0, 1]: there are gamma · D / 2 steps, each of one pass
    forwards and one back.  A radius of the ball, a number of entries, bounds them too.
    classes: of an untargeted attack, how many wrong classes are tried, the likeliest of the clean image first, until
    one breaks the sample; all, and at most 9, unless told. The paper has targets alone.
    Source: Papernot et al. 2016 (The limitations of deep learning in adversarial settings), algorithms 2 and 3;
    theta 1 and at most 14.5 % of the entries as in its evaluation on MNIST.
    """
    if isinstance(theta, bool) or not isinstance(theta, int | float) or not theta or not math.isfinite(theta):
        raise InputError(f"expected theta as a number other than 0, got {theta!r}")
    if not share(gamma, "gamma"):
        raise InputError("expected gamma above 0: a share of the entries that may be changed")
    if targeted and classes is not None:
        raise InputError("expected no number of classes with targeted=True, where the labels are the wanted classes")
    return Attack(
        name="jsma",
        threat=smallest(threat, "jsma", "L0"),
        rule=SaliencyMap(theta=float(theta), gamma=float(gamma)),
        loss=against if targeted else EachTarget(towards, None if classes is None else count(classes, "classes")),
        targeted=targeted,
        goal=First(),
    )
