"""Squares of images, each sample's at a place and of a side of its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """A square of each image, its places in rows of as many as the largest square needs.

    places: (N, 1, P), int64, into an image's rows one after another; those of a narrower square repeat its last ones.
    mask: (N, 1, P), bool: which do not.  corner: (N, 2).  side: (N,).  width: the image's.
    """

    places: Tensor
    mask: Tensor
    corner: Tensor
    side: Tensor
    width: int

    @classmethod
    def at(cls, draw: Tensor, side: Tensor, height: int, width: int) -> Window:
        """Returns squares of these sides, (N,), at corners drawn by (N, 2) in [0, 1), all of them inside.

        AutoAttack's code never draws the last row and column; here they are as likely as the others.
        """
        room = torch.stack([height - side, width - side], 1)
        corner = torch.minimum((draw * (room + 1)).long(), room)
        local = torch.arange(int(side.max()), device=draw.device)
        places = corner[:, :, None] + torch.minimum(local, side[:, None] - 1)[:, None]
        index = places[:, 0, :, None] * width + places[:, 1, None, :]
        inner = local < side[:, None]
        mask = inner[:, :, None] & inner[:, None, :]
        return cls(index.flatten(1)[:, None], mask.flatten(1)[:, None], corner, side, width)

    def of(self, image: Tensor) -> Tensor:
        """Returns (N, C, P): what an image, (N, C, H, W), has there."""
        return image.flatten(2).gather(2, self.places.expand(-1, image.shape[1], -1))

    def outside(self, other: Window) -> Tensor:
        """Returns (N, 1, P), bool: which places are of this window and not of another."""
        local = torch.stack([self.places // self.width, self.places % self.width]) - other.corner.mT[:, :, None, None]
        return self.mask & ~((local >= 0) & (local < other.side[:, None, None])).all(0)
