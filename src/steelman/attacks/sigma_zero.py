"""σ-zero: descent on a smooth count of the changed entries, with the small ones cut off after every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.ddn import annealed
from steelman.attacks.engine.goals import Nearest
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, count, positive, share, smallest
from steelman.losses import margin
from steelman.norms import Ball
from steelman.threat import Threat

DECAY = 0.9, 0.999
"""Of Adam's two moments."""


class Descent(NamedTuple):
    """Adam's moments of each sample, (N, *S), and the change below which an entry is put back, (N,)."""

    mean: Tensor
    square: Tensor
    threshold: Tensor


@dataclass(frozen=True, kw_only=True)
class SigmaZero:
    """Adam on the margin and a smooth count of changed entries; entries below a threshold are put back."""

    steps: int
    sigma: float
    tau0: float
    tau_rate: float
    size: float

    from_input: ClassVar[bool] = True
    asks: ClassVar[Asks] = Asks.GRADIENTS

    def start(self, problem: Problem) -> tuple[Tensor, Descent]:
        """Returns the clean images, moments of zero and the first threshold."""
        x = problem.x
        return x.clone(), Descent(torch.zeros_like(x), torch.zeros_like(x), x.new_full((len(x),), self.tau0))

    def move(self, problem: Problem, state: Descent, probe: Probe) -> tuple[Tensor, Descent]:
        """Returns the next candidates, moments and thresholds."""
        threat, x = problem.threat, problem.x
        delta, broken = probe.x - x, probe.margin > 0
        step, mean, square = self._adam(state, self._gradient(delta, broken, probe), probe.k)
        delta = (probe.x - step).clamp_(threat.low, threat.high).sub_(x)
        rate = self.tau_rate * self._size(probe.k + 1).to(x)
        threshold = (state.threshold + torch.where(broken, rate, -rate)).clamp_(0, 1)
        delta.masked_fill_(delta.abs() < column(threshold, delta), 0)
        return delta.add_(x), Descent(mean, square, threshold)

    def _size(self, k: Tensor) -> Tensor:
        return annealed(self.size, self.size / 10, k, self.steps)

    def _gradient(self, delta: Tensor, broken: Tensor, probe: Probe) -> Tensor:
        """Of what is descended, with its largest entry at one; the margin counts where the sample holds alone."""
        square = delta.square().add_(self.sigma)
        counted = delta.mul(2 * self.sigma / delta[0].numel()).div_(square.square_())
        total = counted.addcmul_(probe.grad, column((~broken).to(delta.dtype), delta), value=-1)
        return total.div_(column(total.flatten(1).abs().amax(1).clamp_min_(1e-12), total))

    def _adam(self, state: Descent, grad: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step down and the moments after it (Kingma & Ba 2015, algorithm 1), each sample at its own k."""
        first, second = DECAY
        mean = state.mean.lerp(grad, 1 - first)
        square = (state.square * second).addcmul_(grad, grad, value=1 - second)
        root = column((1 - second ** (k + 1).double()).sqrt(), grad)
        size = column(self._size(k) / (1 - first ** (k + 1).double()), grad)
        return mean.mul(size).div_(square.sqrt().div_(root).add_(1e-8)), mean, square


def sigma_zero(
    threat: Threat | Ball,
    *,
    steps: int = 1000,
    sigma: float = 1e-3,
    tau0: float = 0.3,
    tau_rate: float = 0.01,
    size: float = 1.0,
    targeted: bool = False,
) -> Attack:
    """Returns σ-zero: the fewest changed entries, found by descending a smooth count of them.

    threat: L0; its radius is how many entries may change: it bounds what is kept, not where the search goes.
    sigma: a change d counts as d² / (d² + sigma) of an entry.
    tau0, tau_rate: the first threshold, in [0, 1], and by how much of the step's size it rises after a broken candidate
    and falls after another.
    size: of the first step, in the images' units; it falls to a tenth along half a cosine.
    Source: Cinà et al. 2025, algorithm 1. The paper writes plain descent; the steps are Adam's, as in the authors'
    code, which made the published results. Theirs is untargeted; targeted we descend the same margin of the target.
    """
    rule = SigmaZero(
        steps=count(steps),
        sigma=positive(sigma, "sigma"),
        tau0=share(tau0, "tau0"),
        tau_rate=share(tau_rate, "tau_rate"),
        size=positive(size, "size"),
    )
    return Attack(
        name="sigma-zero",
        threat=smallest(threat, "sigma-zero", "L0"),
        rule=rule,
        loss=margin,
        targeted=targeted,
        goal=Nearest(),
    )
