"""JPEG compression as a defence: libjpeg's own, and one that can be differentiated."""

from __future__ import annotations

import math
from io import BytesIO

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks
from steelman.defences.straight_through import StraightThrough
from steelman.errors import InputError

ROUNDINGS = ("soft", "straight-through")
GRADIENTS = ("identity", "soft", "straight-through")

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""What a luminance coefficient is divided by at quality 50. Source: ITU-T T.81, table K.1."""

CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""What a chrominance coefficient is divided by at quality 50. Source: ITU-T T.81, table K.2."""

_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


class JPEG(nn.Module):
    """JPEG compression by libjpeg: (N, 1 or 3, H, W) in [0, 1] to the same, on the 8-bit grid.

    Colours are subsampled 4:2:0, as is Pillow's default. It has no gradient and is differentiated (BPDA) as another.

    quality: a whole number from 1 to 100; 75 is the paper's and libjpeg's default.
    gradient: of the "identity", or of the `DifferentiableJPEG` of that rounding: "soft" or "straight-through".
    Raises InputError for another quality or gradient.
    Source: Guo et al. 2018 (Countering Adversarial Images using Input Transformations), section 3.2, quality 75; its
    gradient: Athalye et al. 2018 (Obfuscated gradients), section 5.3.
    """

    def __init__(self, quality: int = 75, gradient: str = "identity") -> None:
        super().__init__()
        _check_quality(quality)
        if gradient not in GRADIENTS:
            raise InputError(f"expected gradient as {', '.join(GRADIENTS[:-1])} or {GRADIENTS[-1]}, got {gradient!r}")
        self.settings = {"quality": quality, "gradient": gradient}
        self.quality = quality
        stand_in = None if gradient == "identity" else DifferentiableJPEG(quality, gradient)
        self.stage = StraightThrough(self._compressed, stand_in)

    def forward(self, x: Tensor) -> Tensor:
        _check_images(self, x)
        out: Tensor = self.stage(x)
        return out

    def _compressed(self, x: Tensor) -> Tensor:
        pixels = (x.detach().float().clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1)
        if not len(pixels):
            return x.clone()
        out = torch.stack([_through_libjpeg(image, self.quality) for image in pixels])
        return out.permute(0, 3, 1, 2).to(x) / 255


class DifferentiableJPEG(nn.Module):
    """JPEG compression in tensor arithmetic: (N, 1 or 3, H, W) in [0, 1] to the same.

    Colours are subsampled 4:2:0; the coefficients alone are rounded, so that it may be off libjpeg's by a grey level,
    and by several where a coefficient is rounded the other way.

    quality: a whole number from 1 to 100, read as libjpeg does.
    rounding: "soft", [v] + (v - [v])³ with [v] the nearest whole number, whose value is its own; or "straight-through",
    [v] itself, differentiated as v.
    Raises InputError for another quality or rounding.
    Source: Shin & Song 2017 (JPEG-resistant Adversarial Images), section 3, the soft rounding; Reich et al. 2024
    (Differentiable JPEG: The Devil is in the Details), section 2, the straight-through one.
    """

    def __init__(self, quality: int = 75, rounding: str = "soft") -> None:
        super().__init__()
        _check_quality(quality)
        if rounding not in ROUNDINGS:
            raise InputError(f"expected rounding as {' or '.join(ROUNDINGS)}, got {rounding!r}")
        self.settings = {"quality": quality, "rounding": rounding}
        self.quality, self.rounding = quality, rounding

    def forward(self, x: Tensor) -> Tensor:
        _check_images(self, x)
        with torch.autocast(x.device.type, enabled=False):  # bf16 has too few digits for coefficients up to 1,024
            level = 255 * (x if x.dtype == torch.float64 else x.float()).clamp(0, 1)
            out = self._grey(level, LUMINANCE) if x.shape[1] == 1 else self._colours(level)
            return (out.clamp(0, 255) / 255).to(x.dtype)

    def _colours(self, rgb: Tensor) -> Tensor:
        height, width = rgb.shape[-2:]
        ycc = torch.einsum("ij,njhw->nihw", rgb.new_tensor(_TO_YCC), rgb)
        luminance, chrominance = ycc[:, :1], F.pad(ycc[:, 1:], (0, width % 2, 0, height % 2), mode="replicate")
        coarse = self._grey(F.avg_pool2d(chrominance, 2) + 128, CHROMINANCE).clamp(0, 255) - 128
        fine = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
        ycc = torch.cat([self._grey(luminance, LUMINANCE).clamp(0, 255), fine], dim=1)
        return torch.einsum("ij,njhw->nihw", rgb.new_tensor(_TO_RGB), ycc)

    def _grey(self, level: Tensor, table: tuple[tuple[int, ...], ...]) -> Tensor:
        """What quantising leaves of planes (N, C, H, W) in [0, 255]."""
        height, width = level.shape[-2:]
        padded = F.pad(level, (0, -width % 8, 0, -height % 8), mode="replicate")
        blocks = padded.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)) - 128
        divisor = level.new_tensor(scaled(table, self.quality))
        cosines = _cosines(level)
        coefficients = torch.einsum("ui,ncaibj,vj->ncaubv", cosines, blocks, cosines)
        kept = self._rounded(coefficients / divisor[:, None]) * divisor[:, None]
        restored = torch.einsum("ui,ncaubv,vj->ncaibj", cosines, kept, cosines) + 128
        return restored.flatten(4, 5).flatten(2, 3)[..., :height, :width]

    def _rounded(self, value: Tensor) -> Tensor:
        nearest = value.detach().round()
        if self.rounding == "soft":
            return nearest + (value - nearest) ** 3
        return value + (nearest - value).detach()


def scaled(table: tuple[tuple[int, ...], ...], quality: int) -> list[list[int]]:
    """Returns a quantisation table at a quality from 1 to 100, each entry in [1, 255], as libjpeg scales it."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [[min(max((entry * percent + 50) // 100, 1), 255) for entry in row] for row in table]


def _cosines(like: Tensor) -> Tensor:
    """(8, 8): the orthonormal cosine transform (DCT-II), frequencies first."""
    place = torch.arange(8, device=like.device, dtype=like.dtype)
    wave = torch.cos(math.pi / 8 * place[:, None] * (place + 0.5)) / 2
    return torch.where(place[:, None] == 0, math.sqrt(1 / 8), wave)


def _through_libjpeg(pixels: Tensor, quality: int) -> Tensor:
    """(H, W, 1 or 3), uint8, to the same."""
    content, grey = BytesIO(), pixels.shape[-1] == 1
    array = pixels.numpy()
    Image.fromarray(array[..., 0] if grey else array).save(content, "jpeg", quality=quality)
    with Image.open(content) as image:
        out = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return out.view(pixels.shape)


def _check_quality(quality: object) -> None:
    if not isinstance(quality, int) or isinstance(quality, bool) or not 1 <= quality <= 100:
        raise InputError(f"expected quality as a whole number from 1 to 100, got {quality!r}: say quality=75")


def _check_images(defence: nn.Module, x: Tensor) -> None:
    input_checks.check(defence, x)
    if x.shape[1] not in (1, 3):
        raise InputError(
            f"expected grey or RGB images, of 1 or 3 channels, for {type(defence).__name__}, got {tuple(x.shape)}: "
            "JPEG holds no others"
        )
