"""A module that works at a size of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Resized(nn.Module):
    """A module fed with images resized bilinearly to its own size; an image that it returns is resized back.

    inner: any module on (N, C, size, size).  size: its side in pixels.
    """

    def __init__(self, inner: nn.Module, size: int) -> None:
        super().__init__()
        self.inner = inner
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(resize(x, self.size))
        return _to(out, x.shape[-2:]) if out.dim() == 4 else out


def fitted(module: nn.Module, shape: Sequence[int]) -> nn.Module:
    """Returns a module that takes images of a shape (C, H, W): as it is, or between resizings if it has another side.

    A network or a purifier that takes images of one size alone states it as `side`, in pixels.
    """
    side = getattr(module, "side", None)
    wants = isinstance(side, int) and tuple(shape[-2:]) != (side, side)
    return Resized(module, side) if wants else module  # type: ignore[arg-type]


def resize(x: Tensor, size: int) -> Tensor:
    """Returns (N, C, H, W) resized bilinearly to (N, C, size, size), as it came if it has that size."""
    return _to(x, torch.Size((size, size)))


def _to(x: Tensor, sides: torch.Size) -> Tensor:
    return x if x.shape[-2:] == sides else F.interpolate(x, size=sides, mode="bilinear", align_corners=False)
