"""Stages that go in front of a classifier, (N, 1, 28, 28) in [0, 1], and hide their gradient or draw at random."""

from __future__ import annotations

import math

import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences.jpeg import LUMINANCE, scaled


class HardBitDepth(nn.Module):
    """Pixels rounded to so many bits, with the gradient that `round` has: zero everywhere.

    Source: Xu et al. 2018 (Feature Squeezing), section 3.1.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits - 1

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.levels).round() / self.levels


class HardJPEG(nn.Module):
    """What JPEG's quantising leaves of a grey image; the rounding of its coefficients has a gradient of zero.

    Source: Das et al. 2017 and Guo et al. 2018, who put JPEG in front of classifiers; ITU-T T.81, annexes A and K.
    """

    cosines: Tensor
    divisor: Tensor

    def __init__(self, quality: int) -> None:
        super().__init__()
        place = torch.arange(8.0)
        wave = torch.cos(math.pi / 8 * place[:, None] * (place + 0.5)) / 2
        wave[0] = math.sqrt(1 / 8)
        self.register_buffer("cosines", wave)
        self.register_buffer("divisor", torch.tensor(scaled(LUMINANCE, quality), dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        level = F.pad(255 * x, (0, -width % 8, 0, -height % 8), mode="replicate") - 128
        blocks = level.unfold(2, 8, 8).unfold(3, 8, 8)
        kept = (self.cosines @ blocks @ self.cosines.T / self.divisor).round() * self.divisor
        restored = (self.cosines.T @ kept @ self.cosines + 128).clamp(0, 255) / 255
        return restored.transpose(3, 4).flatten(4, 5).flatten(2, 3)[..., :height, :width]


class Sawtooth(nn.Module):
    """Pixels near so many levels that rise from one to the next, but fall between the jumps.

    The gradient is neither zero nor NaN: it has the wrong sign. steepness: of the fall.
    """

    def __init__(self, levels: int, steepness: float) -> None:
        super().__init__()
        self.levels, self.steepness = levels, steepness

    def forward(self, x: Tensor) -> Tensor:
        level = x * self.levels
        nearest = level.round().detach()
        return ((nearest - self.steepness * (level - nearest)) / self.levels).clamp(0, 1)


class Thermometer(nn.Module):
    """Each pixel as a column of mercury: (N, 1, H, W) to (N, levels, H, W) of 0 and 1, with a gradient of zero.

    Channel k says whether the pixel is above k / levels.
    Source: Buckman et al. 2018 (Thermometer encoding), section 4.
    """

    marks: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.register_buffer("marks", (torch.arange(levels) / levels).view(1, levels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.marks).clamp(0, 1).ceil()

    def softened(self, x: Tensor) -> Tensor:
        """Returns the code as if each channel filled by and by, in which the gradient is that of a slope.

        Source: Athalye et al. 2018 (Obfuscated gradients), section 5.2, its backward pass.
        """
        return (x - self.marks).clamp(0, 1)


class GaussianNoise(nn.Module):
    """Adds N(0, sigma²) to every pixel, anew with every question."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x)


class NumpyMedian(nn.Module):
    """Each pixel the median of the 3×3 around it, computed outside torch: autograd sees an image from nowhere.

    Source: Xu et al. 2018 (Feature Squeezing), section 3.2.
    """

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.detach().cpu().numpy()
        return torch.from_numpy(ndimage.median_filter(pixels, size=(1, 1, 3, 3), mode="reflect")).to(x)


class RootOfExcess(nn.Module):
    """Dims an image by how far it lies outside [0, 1]: the identity on every image, with a gradient of NaN.

    The distance is the square root of a sum of squares, and at 0 its slope is infinity times zero.
    """

    def forward(self, x: Tensor) -> Tensor:
        excess = (x - x.clamp(0, 1)).square().sum((1, 2, 3), keepdim=True).sqrt()
        return x / (1 + excess)
