"""What an attacker may do: a ball around the clean image, inside the box that images live in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from steelman.errors import InputError
from steelman.norms import Ball, Radius
from steelman.streams import Streams


@dataclass(frozen=True)
class Threat:
    """A ball inside a box.

    ball: as in Linf(0.3).  low, high: the box, [0, 1] unless told; -inf and inf for none.
    Raises InputError if the box is empty.
    """

    ball: Ball
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"expected low < high, got a box from {self.low} to {self.high}")

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

    def holds(self, x: Tensor, *, around: Tensor, slack: float = 1e-6) -> Tensor:
        """Returns (N,) bool: whether each image is inside the ball and the box, up to rounding."""
        eps = torch.as_tensor(self.eps, dtype=x.dtype, device=x.device)
        near = self.distance(x, around=around) <= eps + slack * (1 + eps)
        flat = x.flatten(1)
        return near & (flat >= self.low - slack).all(1) & (flat <= self.high + slack).all(1)

    def take(self, index: Tensor) -> Threat:
        """Returns the threat of some of the samples."""
        return self.at(self.eps.to(index.device)[index]) if isinstance(self.eps, Tensor) and self.eps.dim() else self
