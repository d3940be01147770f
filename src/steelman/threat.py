"""What an attacker may do: a ball around the clean image, inside the box that images live in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from steelman.errors import InputError
from steelman.norms import Ball, Radius
from steelman.streams import Streams

SLACK = 1e-6


Eps = TypeVar("Eps", float, Tensor)


def reach(eps: Eps, slack: float = SLACK) -> Eps:
    """Returns how far a ball of a radius, a number or (N,), goes up to rounding: what lies farther is outside."""
    return eps + slack * (1 + eps)


@dataclass(frozen=True)
class Threat:
    """A ball inside a box, and if asked on a grid.

    ball: as in Linf(0.3).  low, high: the box, [0, 1] unless told; -inf and inf for none.
    levels: 256 for adversarial images that an 8-bit file holds exactly; any value of the box unless told.
    Raises InputError if the box is empty, or a grid has fewer than two levels or no box.
    """

    ball: Ball
    low: float = 0.0
    high: float = 1.0
    levels: int | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"expected low < high, got a box from {self.low} to {self.high}")
        if self.levels is not None and (self.levels < 2 or not math.isfinite(self.high - self.low)):
            raise InputError(
                f"expected at least 2 levels of a box with finite sides, got {self.levels} of "
                f"[{self.low:g}, {self.high:g}]"
            )

    @classmethod
    def of(cls, threat: Threat | Ball) -> Threat:
        """Returns a threat as it is, and a ball as a threat on [0, 1]."""
        return threat if isinstance(threat, Threat) else cls(threat)

    @property
    def eps(self) -> Radius:
        """The ball's radius."""
        return self.ball.eps

    def at(self, eps: Radius) -> Threat:
        """Returns the same threat with another radius."""
        return replace(self, ball=self.ball.at(eps))

    def project(self, x: Tensor, *, around: Tensor) -> Tensor:
        """Returns (N, *S) inside the ball around the clean images and inside the box.

        First the ball, then the box: as the clean image is in the box, the second never leaves the first. For Linf this
        is the nearest point; for the others a feasible one.
        """
        return (around + self.ball.project(x - around)).clamp(self.low, self.high)

    def snap(self, x: Tensor, *, around: Tensor) -> Tensor:
        """Returns (N, *S) on the grid, still inside: the nearest levels where the ball holds them, else towards clean.

        x: inside the threat.  around: the clean images, on the grid.  Without a grid, x itself.
        """
        if self.levels is None:
            return x
        step = (self.high - self.low) / (self.levels - 1)
        origin = ((around - self.low) / step).round()
        moved = (x - self.low) / step - origin
        near = self._at_level(origin + moved.round())
        short = self._at_level(origin + (moved.abs() + SLACK).floor() * moved.sign())
        if self.ball.entrywise:
            fits = (self.ball.project(near - around) - (near - around)).abs() <= SLACK
            return torch.where(fits, near, short)
        fits = self.holds(near, around=around)
        return torch.where(fits.view(-1, *[1] * (x.dim() - 1)), near, short)

    def _at_level(self, number: Tensor) -> Tensor:
        """The level of a number, divided as a reader of 8-bit files divides it, to the last bit of the float."""
        assert self.levels is not None
        return self.low + number / (self.levels - 1) * (self.high - self.low)

    def steepest(self, grad: Tensor, *, at: Tensor) -> Tensor:
        """Returns (N, *S): the unit move that gains most along grad from where the image is.

        Sparse norms do not spend it on entries that the box already stops.
        """
        if self.ball.sparse:
            stopped = ((at <= self.low) & (grad < 0)) | ((at >= self.high) & (grad > 0))
            grad = grad.masked_fill(stopped, 0)
        return self.ball.steepest(grad)

    def sample(self, streams: Streams, *, around: Tensor) -> Tensor:
        """Returns (N, *S): a random image inside the threat for each clean one."""
        return self.project(around + self.ball.sample(streams, around), around=around)

    def distance(self, x: Tensor, *, around: Tensor) -> Tensor:
        """Returns (N,): how far each image is from its clean one, in the ball's norm."""
        return self.ball.size(x - around)

    def holds(self, x: Tensor, *, around: Tensor, slack: float = SLACK) -> Tensor:
        """Returns (N,) bool: whether each image is inside the ball and the box, up to rounding."""
        near = self.reaches(self.distance(x, around=around), slack=slack)
        flat = x.flatten(1)
        return near & (flat >= self.low - slack).all(1) & (flat <= self.high + slack).all(1)

    def reaches(self, distance: Tensor, *, slack: float = SLACK) -> Tensor:
        """Returns (N,) bool: whether the ball goes as far as each distance, up to rounding."""
        eps = torch.as_tensor(self.eps, dtype=distance.dtype, device=distance.device)
        return distance <= reach(eps, slack)

    def take(self, index: Tensor) -> Threat:
        """Returns the threat of some of the samples."""
        return self.at(self.eps.to(index.device)[index]) if isinstance(self.eps, Tensor) and self.eps.dim() else self
