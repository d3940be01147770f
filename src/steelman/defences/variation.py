"""Total variation minimisation: an image painted anew, as smooth as it goes, from pixels that chance left."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks
from steelman.defences.straight_through import StraightThrough
from steelman.errors import InputError

GRADIENTS = ("exact", "identity")


class TotalVariation(nn.Module):
    """The image of least variation close to a random part of the pixels: (N, C, H, W) in [0, 1] to the same.

    It is the z that minimises ‖k ∘ (z − x)‖₂ + weight · TV(z), where k keeps each pixel with a chance of its own, the
    same in all channels, and TV(z) is the sum of the L2 norms of the differences between neighbouring rows and between
    neighbouring columns, channel by channel. The paper solves it by split Bregman; here so many steps of Chambolle &
    Pock, which any image of a batch takes on its own.

    weight: λ, at least 0.  drop: the chance of a pixel to be left out, in [0, 1).
    steps: a whole number from 1 to 4096.
    gradient: "exact", through every step, whose memory grows with them; or of the "identity" (BPDA), as Athalye et al.
    2018 attack it, for large images.
    Raises InputError for a setting out of its range.
    Source: Guo et al. 2018 (Countering Adversarial Images using Input Transformations), section 3.3, eq. 1 and 2, and
    section 4.1 for .03 and .5; the solver: Chambolle & Pock 2011, algorithm 1.
    """

    def __init__(self, weight: float = 0.03, drop: float = 0.5, steps: int = 40, gradient: str = "exact") -> None:
        super().__init__()
        if not (isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0):
            raise InputError(f"expected weight as a number >= 0, got {weight!r}: the paper's is .03")
        if not isinstance(drop, int | float) or not 0 <= drop < 1:
            raise InputError(f"expected drop as a chance in [0, 1), got {drop!r}: the paper's is .5")
        if not isinstance(steps, int) or not 1 <= steps <= 4096:
            raise InputError(f"expected steps as a whole number from 1 to 4096, got {steps!r}: say steps=40")
        if gradient not in GRADIENTS:
            raise InputError(f"expected gradient as {' or '.join(GRADIENTS)}, got {gradient!r}")
        self.settings = {"weight": weight, "drop": drop, "steps": steps, "gradient": gradient}
        self.weight, self.drop, self.steps, self.gradient = weight, drop, steps, gradient
        self.stage = StraightThrough(self._minimised)

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x)
        out: Tensor = self.stage(x) if self.gradient == "identity" else self._minimised(x)
        return out

    def _minimised(self, x: Tensor) -> Tensor:
        kept = (torch.rand_like(x[:, :1]) >= self.drop).to(x.dtype)
        return minimised(x, kept, self.weight, self.steps).clamp(0, 1)


def minimised(x: Tensor, kept: Tensor, weight: float, steps: int) -> Tensor:
    """Returns (N, C, H, W): after so many steps, the z of least ‖kept ∘ (z − x)‖₂ + weight · TV(z).

    kept: (N, 1, H, W), 1 for a pixel that counts and 0 for another.
    """
    ratio = min(max(2 * weight, 1e-3), 1.0)  # the differences' weights move in a range of about λ, pixels in one of 1
    dual, primal = ratio / math.sqrt(8), 1 / (ratio * math.sqrt(8))  # differences have a norm of at most √8
    z = ahead = _filled(x, kept)
    down, across = torch.zeros_like(z[..., 1:, :]), torch.zeros_like(z[..., 1:])
    for _ in range(steps):
        down = _within(down + dual * (ahead[..., 1:, :] - ahead[..., :-1, :]), 3, weight)
        across = _within(across + dual * (ahead[..., 1:] - ahead[..., :-1]), 2, weight)
        moved = z + primal * (
            F.pad(down, (0, 0, 0, 1)) - F.pad(down, (0, 0, 1, 0)) + F.pad(across, (0, 1)) - F.pad(across, (1, 0))
        )
        off = kept * (moved - x)
        left = (1 - primal / _length(off, (1, 2, 3))).clamp(min=0)
        new = moved + (left - 1) * off
        z, ahead = new, 2 * new - z
    return z


def variation(z: Tensor) -> Tensor:
    """Returns (N,): the sum of the L2 norms of the differences between neighbouring rows and between columns.

    Source: Guo et al. 2018, eq. 2 with p = 2.
    """
    rows = (z[..., 1:, :] - z[..., :-1, :]).norm(dim=3).sum((1, 2))
    columns = (z[..., 1:] - z[..., :-1]).norm(dim=2).sum((1, 2))
    out: Tensor = rows + columns
    return out


def _within(dual: Tensor, dim: int, most: float) -> Tensor:
    """The nearest whose L2 norm along `dim` is at most so much."""
    return dual * (most / _length(dual, (dim,))).clamp(max=1)


def _length(v: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The L2 norm, with a finite gradient where it is zero."""
    return v.square().sum(dims, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny).sqrt()


def _filled(x: Tensor, kept: Tensor) -> Tensor:
    """The image with each pixel that is left out as the mean of those kept beside it, from where the steps set out."""
    near, counted = (F.avg_pool2d(part, 3, 1, 1) for part in (x * kept, kept))
    mean = (x * kept).mean((2, 3), keepdim=True) / kept.mean((2, 3), keepdim=True).clamp(min=1e-12)
    around = torch.where(counted > 0, near / counted.clamp(min=1e-12), mean)
    return torch.where(kept > 0, x, around)
