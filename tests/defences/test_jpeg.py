"""JPEG: libjpeg's own, and the differentiable one beside it."""

import math
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from steelman.defences import JPEG, DifferentiableJPEG
from steelman.defences.jpeg import CHROMINANCE, LUMINANCE, scaled
from steelman.errors import InputError

colours = pytest.mark.parametrize("channels", [1, 3])


def photographs(channels, n=8, side=(32, 32)):
    """Smooth images with some noise, on the 8-bit grid."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, channels, 6, 6, generator=generator)
    x = F.interpolate(coarse, size=side, mode="bicubic") + 0.03 * torch.randn(n, channels, *side, generator=generator)
    return (x.clamp(0, 1) * 255).round() / 255


def tables(image):
    """The quantisation tables of a compressed image, as 8×8 arrays."""
    return [np.array(table).reshape(8, 8) for table in image.quantization.values()]


@colours
@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 96, 100])
def test_the_tables_are_those_that_libjpeg_writes(channels, quality):
    content = BytesIO()
    Image.new("L" if channels == 1 else "RGB", (8, 8)).save(content, "jpeg", quality=quality)
    with Image.open(content) as image:
        written = tables(image)
    expected = [scaled(LUMINANCE, quality), *([scaled(CHROMINANCE, quality)] if channels == 3 else [])]
    assert len(written) == len(expected)
    for theirs, ours in zip(written, expected, strict=True):
        assert np.array_equal(theirs, ours)


@colours
def test_it_is_what_comes_out_of_a_jpeg_file(channels):
    x = photographs(channels, n=1, side=(24, 30))
    pixels = (x[0] * 255).byte().permute(1, 2, 0).numpy()
    content = BytesIO()
    Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels).save(content, "jpeg", quality=40)
    with Image.open(content) as image:
        read = torch.from_numpy(np.array(image)).view(24, 30, channels).permute(2, 0, 1) / 255
    assert torch.equal(JPEG(quality=40)(x)[0], read)


@colours
@pytest.mark.parametrize("quality", [10, 50, 75, 95])
@pytest.mark.parametrize("side", [(32, 32), (27, 29)])
def test_the_differentiable_one_agrees_with_libjpeg(channels, quality, side):
    x = photographs(channels, side=side)
    real, ours = JPEG(quality)(x), DifferentiableJPEG(quality, "straight-through")(x)
    off = 255 * (real - ours).abs()
    # grey: the last rounding alone is worth a quarter; colours are rounded thrice on their way through libjpeg
    assert off.mean() < (0.7 if channels == 1 else 1.5)
    assert off.flatten().quantile(0.9) < (1.5 if channels == 1 else 4)
    assert off.mean() < 0.25 * 255 * (real - x).abs().mean() + 0.5


def test_without_rounding_loss_nothing_is_lost_but_fine_colour():
    x = photographs(1)
    assert (DifferentiableJPEG(100, "straight-through")(x) - x).abs().max() < 4 / 255
    red = torch.zeros(1, 3, 16, 16)
    red[:, 0] = 1
    assert (DifferentiableJPEG(100, "straight-through")(red) - red).abs().max() < 3 / 255


def test_a_block_against_the_cosine_sums_of_the_standard():
    """ITU-T T.81, A.3.3, written out."""
    x = photographs(1, n=1, side=(8, 8)).double()
    level, table = 255 * x[0, 0] - 128, scaled(LUMINANCE, 50)

    def scale(u):
        return math.sqrt(1 / 2) if u == 0 else 1.0

    def wave(at, u):
        return math.cos((2 * at + 1) * u * math.pi / 16)

    spot = range(8)
    kept = torch.zeros(8, 8, dtype=torch.float64)
    for u in spot:
        for v in spot:
            value = sum(float(level[i, j]) * wave(i, u) * wave(j, v) for i in spot for j in spot)
            kept[u, v] = round(value * scale(u) * scale(v) / 4 / table[u][v]) * table[u][v]
    for i, j in ((0, 0), (3, 5), (7, 7)):
        value = sum(scale(u) * scale(v) * float(kept[u, v]) * wave(i, u) * wave(j, v) for u in spot for v in spot) / 4
        out = DifferentiableJPEG(50, "straight-through")(x)[0, 0, i, j]
        assert out * 255 == pytest.approx(min(max(value + 128, 0), 255), abs=1e-9)


def test_soft_rounding_is_the_papers_and_its_slope():
    soft = DifferentiableJPEG()._rounded
    value = torch.tensor([-1.4, -0.2, 0.0, 0.3, 2.45], dtype=torch.float64, requires_grad=True)
    out = soft(value)
    assert torch.allclose(out, torch.tensor([-1.064, -0.008, 0.0, 0.027, 2.091125], dtype=torch.float64))
    out.sum().backward()
    assert torch.allclose(value.grad, torch.tensor([0.48, 0.12, 0.0, 0.27, 0.6075], dtype=torch.float64))
    straight = DifferentiableJPEG(rounding="straight-through")._rounded
    (grad,) = torch.autograd.grad(straight(value).sum(), value)
    assert torch.equal(straight(value), value.round())
    assert torch.equal(grad, torch.ones(5, dtype=torch.float64))


def test_libjpeg_is_differentiated_as_it_is_told():
    x, weight = photographs(3, n=2), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    x = (0.1 + 0.8 * x).requires_grad_()

    def grad(defence):
        return torch.autograd.grad((defence(x) * weight).sum(), x)[0]

    assert torch.equal(grad(JPEG()), weight)
    for rounding in ("soft", "straight-through"):
        assert torch.equal(JPEG(gradient=rounding)(x), JPEG()(x))
        assert torch.allclose(grad(JPEG(gradient=rounding)), grad(DifferentiableJPEG(rounding=rounding)))


@pytest.mark.parametrize("kind", [JPEG, DifferentiableJPEG])
def test_wrong_settings_and_images_are_one_error(kind):
    for quality in (0, 101, -5, 50.0, "high", True):
        with pytest.raises(InputError, match="expected quality as a whole number from 1 to 100"):
            kind(quality)
    with pytest.raises(InputError, match="got 'hard'"):
        kind(75, "hard")
    with pytest.raises(InputError, match="expected grey or RGB images"):
        kind()(torch.rand(1, 4, 8, 8))
