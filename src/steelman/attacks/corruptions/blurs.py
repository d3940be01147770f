"""Blurs of images (N, C, H, W): out of focus, through glass, in motion, zooming."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from steelman.streams import Streams

CUT = 4.0
"""Standard deviations beyond which a normal weight is nothing."""


def smooth(x: Tensor, sigma: float, *, reflect: bool = False) -> Tensor:
    """Returns (N, C, H, W): the images under a Gaussian of this standard deviation, in pixels.

    reflect: whether they go on mirrored beyond their edge, or as the edge is.
    """
    if sigma <= 0:
        return x
    down, across = (_gaussian(side, sigma, reflect, x) for side in x.shape[2:])
    return down @ x @ across.T


def _gaussian(side: int, sigma: float, reflect: bool, like: Tensor) -> Tensor:
    """(side, side): what each place gathers; what lies outside is folded in, so that no width is too large."""
    reach = max(1, math.ceil(CUT * sigma))
    offset = torch.arange(-reach, reach + 1, device=like.device)
    weight = torch.exp(-0.5 * (offset.to(like) / sigma) ** 2)
    place = torch.arange(side, device=like.device)[:, None] + offset
    period = place.remainder(2 * side)
    inside = torch.where(period < side, period, 2 * side - 1 - period) if reflect else place.clamp(0, side - 1)
    return like.new_zeros(side, side).scatter_add_(1, inside, (weight / weight.sum()).expand(side, -1))


def defocused(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images under a disk; numbers: its radius in pixels, and what softens its edge."""
    radius, soft = numbers[0] * scale, numbers[1]
    reach = math.ceil(radius) + 2
    line = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).to(x)
    kernel = smooth((disk / disk.sum())[None, None], soft)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], -1, -1, -1)
    return F.conv2d(F.pad(x, (reach,) * 4, mode="replicate"), kernel, groups=x.shape[1])


def glassy(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images with neighbours exchanged at random; numbers: blur before and after, reach, how often.

    Pixels are exchanged one after another in the paper's code; here all those at once that do not touch each other.
    """
    sigma, reach, times = numbers[0] * scale, max(1, round(numbers[1] * scale)), int(numbers[2])
    n, channels, height, width = x.shape
    order = torch.arange(height * width, device=x.device).expand(n, -1).clone()
    apart = 2 * reach + 1
    for turn in range(times * apart * apart):
        down = torch.arange(height, device=x.device)[reach + turn // apart % apart : max(0, height - reach) : apart]
        right = torch.arange(width, device=x.device)[reach + turn % apart : max(0, width - reach) : apart]
        here = (down[:, None] * width + right).flatten().expand(n, -1)
        if not here.numel():
            continue
        like = here.to(x)
        step = streams.derive(f"down {turn}").below(2 * reach, like) - reach
        side = streams.derive(f"right {turn}").below(2 * reach, like) - reach
        there = here + step * width + side
        one, other = order.gather(1, here), order.gather(1, there)
        order = order.scatter(1, here, other).scatter(1, there, one)
    blurred = smooth(x, sigma).flatten(2)
    moved = blurred.gather(2, order[:, None].expand(-1, channels, -1)).view_as(x)
    return smooth(moved, sigma)


def moving(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images drawn out to one side; numbers: how far at most, and the deviation of the weights.

    The direction is each sample's own, within 45 degrees of the horizontal.
    """
    angle = (streams.derive("angle").uniform(x[:, 0, 0, 0]) - 0.5) * (math.pi / 2)
    return drawn_out(x, numbers[0] * scale, numbers[1] * scale, angle)


def drawn_out(x: Tensor, radius: float, sigma: float, angle: Tensor) -> Tensor:
    """Returns (N, C, H, W): a mean of the images along a line, its weights those of half a Gaussian.

    radius, sigma: in pixels.  angle: (N,), of the line, 0 across and pi / 2 down.
    """
    far = int(min(2 * math.ceil(radius), math.ceil(CUT * sigma)))
    weights = [math.exp(-0.5 * (at / max(sigma, 1e-6)) ** 2) for at in range(far + 1)]
    height, width = x.shape[2:]
    whole = x.new_tensor([[1.0, 0, 0], [0, 1, 0]]).expand(len(x), -1, -1)
    step = torch.stack([angle.cos() * 2 / width, angle.sin() * 2 / height], 1)
    total = torch.zeros_like(x)
    for at, weight in enumerate(weights):
        theta = torch.cat([whole[:, :, :2], at * step[:, :, None]], 2)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        total += weight / sum(weights) * F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return total


def zoomed(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the mean of the images and of what zooming in makes of them; numbers: the factors."""
    return (x + sum(magnified(x, factor) for factor in numbers)) / (1 + len(numbers))


def magnified(x: Tensor, factor: float) -> Tensor:
    """Returns (N, C, H, W): the middle of the images at `factor` times its size."""
    theta = x.new_tensor([[1 / factor, 0, 0], [0, 1 / factor, 0]]).expand(len(x), -1, -1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
