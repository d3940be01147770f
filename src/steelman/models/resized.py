"""A module that works at a size of its own."""

from __future__ import annotations

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
        return resize(out, x.shape[-1]) if out.dim() == 4 else out


def resize(x: Tensor, size: int) -> Tensor:
    """Returns (N, C, H, W) resized bilinearly to (N, C, size, size), as it came if it has that size."""
    if x.shape[-2:] == (size, size):
        return x
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=False)
