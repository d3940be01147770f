"""The sub-space of an image's lowest frequencies, in which random probes say more of a smooth boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from steelman.errors import InputError


@dataclass(frozen=True)
class Lowest:
    """The lowest frequencies of images by the cosine transform, or the whole space where there are no bases.

    shape: of an image.  rows, columns: (H, h) and (W, w), orthonormal.
    """

    shape: tuple[int, ...]
    rows: Tensor | None = None
    columns: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, number: int | None) -> Lowest:
        """Returns the space of the `number` lowest frequencies of the last two axes of x, (N, *S).

        Raises InputError where there are no two.
        """
        shape = tuple(x.shape[1:])
        if number is None:
            return cls(shape)
        if len(shape) < 2:
            raise InputError(f"expected images for a subspace of frequencies, got shape {shape}: leave subspace out")
        return cls(shape, cosines(shape[-2], number, x), cosines(shape[-1], number, x))

    @property
    def lanes(self) -> int:
        """How many dimensions it has."""
        if self.rows is None or self.columns is None:
            return math.prod(self.shape)
        return math.prod(self.shape[:-2]) * self.rows.shape[1] * self.columns.shape[1]

    def lift(self, weight: Tensor) -> Tensor:
        """Returns images, (M, *S), from their coordinates, (M, lanes)."""
        if self.rows is None or self.columns is None:
            return weight.view(-1, *self.shape)
        square = weight.view(-1, *self.shape[:-2], self.rows.shape[1], self.columns.shape[1])
        return self.rows @ square @ self.columns.T


def cosines(size: int, number: int, like: Tensor) -> Tensor:
    """Returns (size, number): the lowest vectors of the orthonormal cosine transform (DCT-II), at most `size`."""
    place = torch.arange(size, dtype=torch.float64) + 0.5
    wave = torch.arange(min(number, size), dtype=torch.float64)
    basis = torch.cos(math.pi / size * place[:, None] * wave) * math.sqrt(2 / size)
    basis[:, 0] /= math.sqrt(2)
    return basis.to(like)
