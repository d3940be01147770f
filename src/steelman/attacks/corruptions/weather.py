"""Weather on images (N, C, H, W): snow, fog and light."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from steelman.attacks.corruptions.blurs import drawn_out, magnified
from steelman.streams import Streams


def brightness(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images with more light, hue and saturation as before; numbers: what is added to the top channel."""
    value = x.amax(1, keepdim=True)
    brighter = (value + numbers[0]).clamp_max(1)
    return torch.where(value > 0, x * (brighter / value.clamp_min(torch.finfo(x.dtype).tiny)), brighter)


def fog(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns the images behind a fog that is denser here than there; numbers: how dense, and how smooth."""
    dense, smoothness = numbers
    height, width = x.shape[2:]
    side = 2 ** math.ceil(math.log2(max(height, width, 2)))
    layer = plasma(streams, side, smoothness, x)[:, None, :height, :width]
    most = x.amax((1, 2, 3), keepdim=True)
    return (x + dense * layer) * most / (most + dense)


def plasma(streams: Streams, side: int, decay: float, like: Tensor) -> Tensor:
    """Returns (N, side, side) in [0, 1]: clouds, by the diamond-square algorithm on a torus.

    side: a power of two.  decay: the noise's width is divided by its square from one scale to the next.
    Source: Fournier, Fussell & Carpenter 1982; the noise as in the code of Hendrycks & Dietterich 2019.
    """
    sky = like.new_zeros(len(like), side, side)
    step, width = side, 100.0

    def noisy(total: Tensor, word: str) -> Tensor:
        unit = streams.derive(f"{word} {step}").uniform(total)
        return total / 4 + width**2 * (2 * unit - 1)

    while step >= 2:
        half = step // 2
        corners = sky[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        sky[:, half::step, half::step] = noisy(pairs + pairs.roll(-1, 2), "square")
        middles = sky[:, half::step, half::step]
        above = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        sky[:, ::step, half::step] = noisy(above, "above")
        beside = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        sky[:, half::step, ::step] = noisy(beside, "beside")
        step, width = half, width / decay
    sky -= sky.amin((1, 2), keepdim=True)
    return sky / sky.amax((1, 2), keepdim=True)


def snow(x: Tensor, numbers: tuple[float, ...], streams: Streams, scale: float) -> Tensor:
    """Returns whitened images with flakes that fall from two sides.

    numbers: mean and deviation of the flakes, their size, the brightness from which on there is one, how far they are
    drawn out and with which deviation, and how much of the image's colour is left.
    """
    mean, spread, size, least, radius, sigma, left = numbers
    flakes = magnified(mean + spread * streams.derive("flakes").normal(x[:, :1]), size)
    flakes = torch.where(flakes < least, 0, flakes).clamp(0, 1)
    angle = (streams.derive("angle").uniform(x[:, 0, 0, 0]) - 1.5) * (math.pi / 2)
    flakes = drawn_out(flakes, radius * scale, sigma * scale, angle)
    white = torch.maximum(x, 1.5 * grey(x) + 0.5)
    return left * x + (1 - left) * white + flakes + flakes.rot90(2, (2, 3))


def grey(x: Tensor) -> Tensor:
    """Returns (N, 1, H, W): the light of images with one or three channels, by the weights of ITU-R BT.601."""
    weight = x.new_tensor([0.299, 0.587, 0.114] if x.shape[1] == 3 else [1.0])
    return (x * weight.view(1, -1, 1, 1)).sum(1, keepdim=True)
