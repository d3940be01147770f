"""What happens to images without an adversary: noise, blur, weather and storage, each at five severities.

The kinds and their numbers are those of Hendrycks & Dietterich 2019: of their CIFAR-10-C (32×32) for images whose
shorter side is below 96, of their ImageNet-C (224×224) for others; lengths in pixels follow the side, but are no less
than at 32. Frost is left out, as it lays photographs over an image. Every draw comes from the sample's own stream.
The numbers of MNIST-C (Mu & Gilmer 2019) are those of ImageNet-C on 28×28: harsher than these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from steelman.attacks.corruptions import digital, weather
from steelman.attacks.corruptions.blurs import defocused, glassy, moving, zoomed
from steelman.attacks.reprs import by_name
from steelman.errors import InputError
from steelman.streams import Streams

Numbers = tuple[float, ...]

SMALL = 96
"""Images with a shorter side than this take the numbers of CIFAR-10-C."""

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """One kind of corruption: called on images, it returns them corrupted.

    change: of (x, numbers, streams, scale), scale being how many times as large the side is as that of the numbers.
    small, large: the five severities' numbers for 32×32 and for 224×224.
    colour: whether it says nothing of grey images.
    """

    change: Callable[[Tensor, Numbers, Streams, float], Tensor]
    small: tuple[Numbers, ...]
    large: tuple[Numbers, ...]
    colour: bool = False

    __repr__ = by_name

    def __call__(self, x: Tensor, severity: int, streams: Streams) -> Tensor:
        """Returns (N, C, H, W) in [0, 1]: the images corrupted, each by draws of its own stream alone.

        x: (N, C, H, W) in [0, 1], C = 1 or 3.  severity: 1 to 5.
        Raises InputError for what is no such image, or another severity.
        """
        if x.dim() != 4 or x.shape[1] not in (1, 3):
            raise InputError(f"expected images of shape (N, 1 or 3, H, W) for corruptions, got {tuple(x.shape)}")
        if self.colour and x.shape[1] == 1:
            raise InputError(f"expected colour images for {self.change.__name__}, got grey ones: leave it out")
        if isinstance(severity, bool) or severity not in SEVERITIES:
            raise InputError(f"expected a severity from 1 to 5, got {severity!r}")
        side = min(x.shape[2:])
        numbers, scale = (self.small, max(1.0, side / 32)) if side < SMALL else (self.large, side / 224)
        own = streams.derive(severity)
        return self.change(x, numbers[severity - 1], own, scale).clamp(0, 1)


def gaussian_noise(x: Tensor, numbers: Numbers, streams: Streams, scale: float) -> Tensor:
    """Returns the images with normal noise; numbers: its standard deviation."""
    return x + numbers[0] * streams.normal(x)


def shot_noise(x: Tensor, numbers: Numbers, streams: Streams, scale: float) -> Tensor:
    """Returns the images counted in photons; numbers: how many a white pixel has."""
    counted = torch.empty_like(x)
    for at, key in enumerate(streams.key.tolist()):
        # torch's Poisson draws from a generator alone: one for each sample, seeded by its stream.
        counted[at] = torch.poisson(x[at] * numbers[0], generator=torch.Generator(x.device).manual_seed(key))
    return counted / numbers[0]


def impulse_noise(x: Tensor, numbers: Numbers, streams: Streams, scale: float) -> Tensor:
    """Returns the images with black and white values in them; numbers: their share."""
    colour = (streams.derive("colour").uniform(x) < 0.5).to(x)
    return torch.where(streams.uniform(x) < numbers[0], colour, x)


def speckle_noise(x: Tensor, numbers: Numbers, streams: Streams, scale: float) -> Tensor:
    """Returns the images with noise in proportion to the light; numbers: its standard deviation."""
    return x + numbers[0] * x * streams.normal(x)


def _ones(*values: float) -> tuple[Numbers, ...]:
    return tuple((value,) for value in values)


def _zooms(*values: tuple[float, float]) -> tuple[Numbers, ...]:
    """Factors from 1 up to, but without, an end."""
    return tuple(tuple(1 + at * step for at in range(round((end - 1) / step))) for end, step in values)


kinds: dict[str, Distortion] = {
    "gaussian_noise": Distortion(
        change=gaussian_noise, small=_ones(0.04, 0.06, 0.08, 0.09, 0.1), large=_ones(0.08, 0.12, 0.18, 0.26, 0.38)
    ),
    "shot_noise": Distortion(change=shot_noise, small=_ones(500, 250, 100, 75, 50), large=_ones(60, 25, 12, 5, 3)),
    "impulse_noise": Distortion(
        change=impulse_noise, small=_ones(0.01, 0.02, 0.03, 0.05, 0.07), large=_ones(0.03, 0.06, 0.09, 0.17, 0.27)
    ),
    "speckle_noise": Distortion(
        change=speckle_noise, small=_ones(0.06, 0.1, 0.12, 0.16, 0.2), large=_ones(0.15, 0.2, 0.35, 0.45, 0.6)
    ),
    "defocus_blur": Distortion(
        change=defocused,
        small=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        large=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": Distortion(
        change=glassy,
        small=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        large=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": Distortion(
        change=moving,
        small=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        large=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": Distortion(
        change=zoomed,
        small=_zooms((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        large=_zooms((1.11, 0.01), (1.16, 0.01), (1.22, 0.02), (1.26, 0.02), (1.33, 0.03)),
    ),
    "snow": Distortion(
        change=weather.snow,
        small=(
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        large=(
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "fog": Distortion(
        change=weather.fog,
        small=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        large=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Distortion(
        change=weather.brightness, small=_ones(0.05, 0.1, 0.15, 0.2, 0.3), large=_ones(0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    "contrast": Distortion(
        change=digital.contrast, small=_ones(0.75, 0.5, 0.4, 0.3, 0.15), large=_ones(0.4, 0.3, 0.2, 0.1, 0.05)
    ),
    "saturate": Distortion(
        change=digital.saturate,
        small=((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        large=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        colour=True,
    ),
    "elastic_transform": Distortion(
        change=digital.elastic_transform,
        small=((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        large=((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
    ),
    "pixelate": Distortion(
        change=digital.pixelate, small=_ones(0.95, 0.9, 0.85, 0.75, 0.65), large=_ones(0.6, 0.5, 0.4, 0.3, 0.25)
    ),
    "jpeg_compression": Distortion(
        change=digital.jpeg_compression, small=_ones(80, 65, 58, 50, 40), large=_ones(25, 18, 15, 10, 7)
    ),
}
"""By name, in the order of the paper: noise, blur, weather, storage."""
