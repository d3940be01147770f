"""The constant between distance and loss, searched for sample by sample: the least one that breaks the sample."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LARGEST = 1e10


class Bracket(NamedTuple):
    """What is known of each sample's least constant, all (N,).

    c: the one that is tried.  low: the largest that failed.  high: the smallest that broke the sample, LARGEST before
    any did.  turn: int64, how many searches are over.
    """

    c: Tensor
    low: Tensor
    high: Tensor
    turn: Tensor

    @classmethod
    def begin(cls, like: Tensor) -> Bracket:
        """Returns the bracket of samples, (N, *S), of whom nothing is known."""
        zero = like.new_zeros(len(like))
        return cls(zero, zero, zero + LARGEST, zero.long())

    def within(self, share: float) -> Tensor:
        """Returns (N,) bool: whether the least constant is known to a share of itself."""
        return self.high - self.low < share * self.high

    def opened(self, first: Tensor, c: Tensor | float) -> Bracket:
        """Returns the same bracket, but for samples chosen, first (N,) bool, that try their first constant."""
        return self._replace(c=torch.where(first, c, self.c))

    def after(self, over: Tensor, broken: Tensor, factor: float) -> Bracket:
        """Returns the bracket after some searches, over (N,) bool, are over, which broke their samples or not.

        The next constant is the middle of the bracket, or the last one times a factor while none has broken the sample.
        Source: code of Carlini & Wagner 2017, its L2 attack.
        """
        high = torch.where(over & broken, torch.minimum(self.high, self.c), self.high)
        low = torch.where(over & ~broken, torch.maximum(self.low, self.c), self.low)
        ahead = torch.where(high < LARGEST, (low + high) / 2, (self.c * factor).clamp_max(LARGEST))
        return Bracket(torch.where(over, ahead, self.c), low, high, self.turn + over)


def by_slope(gap: Tensor, grad: Tensor, otherwise: float) -> Tensor:
    """Returns (N,): the constant of the squared distance and the gap that breaks a linear model, 2 gap / |grad|^2.

    gap: (N,), how much is missing.  grad: (N, *S), its gradient.  otherwise: where there is no gradient.
    """
    steepness = grad.flatten(1).square().sum(1)
    return torch.where(steepness > 0, 2 * gap / steepness, otherwise).clamp(1e-8, 1e8)
