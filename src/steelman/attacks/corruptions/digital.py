"""What cameras, storage and rubber sheets do to images (N, C, H, W)."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from steelman.attacks.corruptions.blurs import smooth
from steelman.streams import Streams


def contrast(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images nearer to each channel's mean; numbers: the share of the difference that is left."""
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * numbers[0] + mean


def saturate(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images with more or less colour; numbers: saturation is multiplied with one, the other is added.

    A pixel without colour stays so, as it has no hue to be given more of.
    """
    value, tiny = x.amax(1, keepdim=True), torch.finfo(x.dtype).tiny
    saturation = (value - x.amin(1, keepdim=True)) / value.clamp_min(tiny)
    wanted = (saturation * numbers[0] + numbers[1]).clamp(0, 1)
    return torch.where(saturation > 0, value - (value - x) * (wanted / saturation.clamp_min(tiny)), x)


def elastic_transform(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images pulled out of shape; numbers: how far, how smoothly, and by how much corners shift.

    All as shares of the side.
    Source: Simard, Steinkraus & Platt 2003, with an affine map of three points that move at random.
    """
    far, sigma, shift = numbers
    n, _, height, width = x.shape
    side = min(height, width)
    # Three corners of the middle third, in units of half a side.
    third = 2 * (side // 3) / side
    corners = x.new_tensor([[third, third], [third, -third], [-third, -third]])
    moved = corners + 2 * shift * (2 * streams.derive("corners").uniform(x.new_empty(n, 3, 2)) - 1)
    whole = torch.cat([moved, moved.new_ones(n, 3, 1)], 2)
    # The sampling grid asks where a place came from: from the moved corners to those that stood.
    theta = torch.linalg.solve(whole, corners.expand(n, -1, -1)).transpose(1, 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    bent = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    if not far:
        return bent
    noise = 2 * streams.derive("sheet").uniform(x.new_empty(n, 2, height, width)) - 1
    pull = 2 * far * side * smooth(noise, sigma * side, reflect=True)
    pull = pull.permute(0, 2, 3, 1) / x.new_tensor([width, height])
    stay = F.affine_grid(x.new_tensor([[1.0, 0, 0], [0, 1, 0]]).expand(n, -1, -1), list(x.shape), align_corners=False)
    return F.grid_sample(bent, stay + pull, padding_mode="reflection", align_corners=False)


def pixelate(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images in fewer, larger pixels; numbers: how many of a side's are left, as a share."""
    down, across = (_boxes(side, max(1, int(side * numbers[0])), x) for side in x.shape[2:])
    return down @ x @ across.T


def _boxes(side: int, few: int, like: Tensor) -> Tensor:
    """(side, side): the mean of those that fall together when `side` places become few, and are drawn again.

    Whole places are averaged, as Pillow's box filter does.
    """
    low = torch.arange(few, device=like.device) * side / few + 0.5
    place = torch.arange(side, device=like.device)
    together = (place >= low.floor()[:, None]) & (place < (low + side / few).floor()[:, None])
    mean = together.to(like) / together.sum(1, keepdim=True)
    return mean[((place + 0.5) * few / side).long()]


def jpeg_compression(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images as a JPEG file gives them back; numbers: its quality."""
    levels = (x.permute(0, 2, 3, 1) * 255).to(torch.uint8).cpu().numpy()
    files = [_through_file(image.squeeze(2) if image.shape[2] == 1 else image, int(numbers[0])) for image in levels]
    return torch.from_numpy(np.stack(files)).to(x).view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2) / 255


def _through_file(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
