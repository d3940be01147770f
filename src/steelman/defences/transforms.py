"""Input transforms: what goes in front of a classifier without training, (N, C, H, W) in [0, 1] to the same."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks
from steelman.defences.straight_through import StraightThrough
from steelman.errors import InputError

RATIO = 331 / 299
"""Of the side of the frame to that of the image, as in the paper: from 299 to 331 pixels."""


class BitDepth(nn.Module):
    """Pixels rounded to so many bits: (N, C, H, W) in [0, 1] to the same, differentiated as the identity (BPDA).

    bits: a whole number from 1 to 8; the paper takes 1 for grey digits, and 4 or 5 for colour photographs.
    Raises InputError for another number.
    Source: Xu et al. 2018 (Feature Squeezing), section 3.1.
    """

    def __init__(self, bits: int = 1) -> None:
        super().__init__()
        _check_whole("bits", bits, 1, 8)
        self.settings = {"bits": bits}
        self.stage = StraightThrough(partial(_rounded, steps=2**bits - 1))

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x)
        out: Tensor = self.stage(x)
        return out


class MedianSmoothing(nn.Module):
    """Each pixel the median of the size×size around it, channel by channel: (N, C, H, W) in [0, 1] to the same.

    A window of even size reaches further up and left, and the greater of its two middle values is the median. Beyond
    the edge the image is mirrored, the edge pixel included. The gradient goes to the pixel that was picked.

    size: a whole number from 2 to 15; the paper takes 2 or 3.
    Raises InputError for another number.
    Source: Xu et al. 2018 (Feature Squeezing), section 3.2.
    """

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        _check_whole("size", size, 2, 15)
        self.settings = {"size": size}
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x)
        size = self.size
        rows, columns = (_mirrored(side, size, x.device) for side in x.shape[-2:])
        windows = x.clamp(0, 1)[..., rows, :][..., columns].unfold(2, size, 1).unfold(3, size, 1).flatten(-2)
        return windows.kthvalue(size * size // 2 + 1).values


class RandomResizePad(nn.Module):
    """Each image resized at random and put at a random place on black: (N, C, H, W) in [0, 1] to the same.

    The paper makes an image of 299 pixels a random side up to 331 and pads it to 331 for its classifier. A classifier
    here keeps its size, so that by default the same ratio goes the other way: down to a random side from 299/331 of its
    own, padded to its own. The paper names no interpolation; ours is bilinear.

    grow: the paper's way, to a larger image, (N, C, H', W') with H' = H · ratio rounded, for a classifier of any size.
    ratio: of the larger side to the smaller, from above 1 up to 4.
    Raises InputError for another ratio.
    Source: Xie et al. 2018 (Mitigating Adversarial Effects EndToEndPurifierLoss Randomization), section 3.
    """

    def __init__(self, ratio: float = RATIO, grow: bool = False) -> None:
        super().__init__()
        if not isinstance(ratio, int | float) or not 1 < ratio <= 4:
            raise InputError(f"expected ratio above 1 and up to 4, got {ratio!r}: the paper's is 331/299")
        self.settings = {"ratio": ratio, "grow": grow}
        self.ratio, self.grow = ratio, grow

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x)
        n, _, height, width = x.shape
        if self.grow:
            least, frame = height, (round(height * self.ratio), round(width * self.ratio))
        else:
            least, frame = max(1, round(height / self.ratio)), (height, width)
        rows = torch.randint(least, frame[0] + 1, (n,), device=x.device)
        columns = rows if height == width else (rows * width / height).round().clamp(1, frame[1]).long()
        down, inside_down = _placed(rows, frame[0])
        across, inside_across = _placed(columns, frame[1])
        grid = torch.stack([across[:, None, :].expand(n, *frame), down[:, :, None].expand(n, *frame)], dim=-1)
        moved = F.grid_sample(x.clamp(0, 1), grid.to(x.dtype), padding_mode="border", align_corners=False)
        inside = inside_down[:, None, :, None] & inside_across[:, None, None, :]
        return torch.where(inside, moved, 0.0)


def _rounded(x: Tensor, steps: int) -> Tensor:
    return (x.clamp(0, 1) * steps).round() / steps


def _placed(sides: Tensor, frame: int) -> tuple[Tensor, Tensor]:
    """(N, frame): where in the image, from -1 to 1, each place of a frame lies in which it has a random place; if so.

    sides: (N,), what the image's own side becomes, up to `frame`.
    """
    start = (torch.rand(len(sides), device=sides.device) * (frame - sides + 1)).floor().clamp(max=frame - sides)
    place = torch.arange(frame, device=sides.device) - start[:, None]
    where = 2 * (place.double() + 0.5) / sides[:, None] - 1
    return where, (place >= 0) & (place < sides[:, None])


def _mirrored(side: int, size: int, device: torch.device) -> Tensor:
    """(side + size - 1,): the pixels of a row under a window of this size, mirrored beyond its ends."""
    place = torch.arange(-(size // 2), side + (size - 1) // 2, device=device) % (2 * side)
    return torch.minimum(place, 2 * side - 1 - place)


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"expected {name} as a whole number from {least} to {most}, got {value!r}: say {name}={least}")
