"""Input transforms, each against its paper written out."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.nn import functional as F

from steelman.cli import main
from steelman.defences import BitDepth, MedianSmoothing, RandomResizePad, TotalVariation
from steelman.defences.variation import minimised, variation
from steelman.errors import InputError


def images(n=4, channels=1, side=(28, 28), seed=0):
    return torch.rand(n, channels, *side, generator=torch.Generator().manual_seed(seed))


def test_bits_are_levels_and_rounding_goes_to_the_nearest():
    x = torch.tensor([0.0, 0.49, 0.51, 1.0]).view(1, 1, 2, 2)
    assert BitDepth(1)(x).flatten().tolist() == [0.0, 0.0, 1.0, 1.0]
    for bits in (1, 3, 8):
        out = BitDepth(bits)(images())
        assert len(out.unique()) <= 2**bits
        assert (out - images()).abs().max() <= 0.5 / (2**bits - 1) + 1e-6
    grid = torch.arange(256.0).view(1, 1, 16, 16) / 255
    assert torch.equal(BitDepth(8)(grid), grid)


def test_bits_are_differentiated_as_the_identity():
    x = images().requires_grad_()
    weight = images(seed=1)
    (BitDepth(2)(x) * weight).sum().backward()
    assert torch.equal(x.grad, weight)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_the_median_is_scipys_as_in_the_papers_code(size):
    x = images(channels=3, side=(9, 13))
    expected = [[scipy.ndimage.median_filter(part, size, mode="reflect") for part in image] for image in x.numpy()]
    assert torch.equal(MedianSmoothing(size)(x), torch.from_numpy(np.array(expected)))


def test_the_medians_gradient_goes_to_the_pixel_that_was_picked():
    x = images(n=1, side=(6, 6)).requires_grad_()
    out = MedianSmoothing(3)(x)
    (grad,) = torch.autograd.grad(out[0, 0, 3, 3], x)
    assert grad.sum() == 1
    assert x[grad > 0] == out[0, 0, 3, 3]


@pytest.mark.parametrize("grow", [False, True])
@pytest.mark.parametrize("side", [(28, 28), (20, 33)])
def test_what_is_resized_and_padded_is_that(grow, side):
    """Every image is one of its resized versions on black, at one of its places."""
    x, ratio = images(6, 3, side), 1.3
    out = RandomResizePad(ratio, grow)(x)
    frame = [round(length * ratio) for length in side] if grow else side
    assert out.shape == (6, 3, *frame)
    least = side[0] if grow else round(side[0] / ratio)
    found = set()
    for image, given in zip(out, x, strict=True):
        lit = image.abs().sum(0) > 0
        rows, columns = lit.any(1).nonzero().squeeze(1), lit.any(0).nonzero().squeeze(1)
        top, left = int(rows[0]), int(columns[0])
        height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
        assert least <= height <= frame[0]
        assert abs(width - height * side[1] / side[0]) <= 0.5
        resized = F.interpolate(given[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        assert torch.allclose(image[:, top : top + height, left : left + width], resized, atol=1e-5)
        found.add((height, top, left))
    assert len(found) > 1


def test_the_papers_ratio_reaches_the_papers_size():
    assert RandomResizePad(grow=True)(torch.ones(1, 1, 299, 299)).shape == (1, 1, 331, 331)
    sides = {int((RandomResizePad()(torch.ones(1, 1, 28, 28))[0, 0] > 0).any(1).sum()) for _ in range(60)}
    assert sides == {25, 26, 27, 28}


def test_each_place_is_drawn():
    torch.manual_seed(0)
    out = RandomResizePad(ratio=1.5)(torch.ones(400, 1, 6, 6))
    tops = {int((image[0] > 0).any(1).nonzero()[0]) for image in out}
    lefts = {int((image[0] > 0).any(0).nonzero()[0]) for image in out}
    assert tops == lefts == {0, 1, 2}


def objective(z, x, kept, weight):
    return (kept * (z - x)).flatten(1).norm(dim=1) + weight * variation(z)


def test_variation_is_the_papers():
    z = images(2, 2, (4, 5)).double()
    expected = [
        sum(float((image[k, i] - image[k, i - 1]).norm()) for k in range(2) for i in range(1, 4))
        + sum(float((image[k, :, j] - image[k, :, j - 1]).norm()) for k in range(2) for j in range(1, 5))
        for image in z
    ]
    assert torch.allclose(variation(z), torch.tensor(expected, dtype=torch.float64))


def test_few_steps_come_near_the_least_and_many_meet_it():
    x = F.interpolate(images(4, 1, (5, 5)), size=(20, 20), mode="bicubic").clamp(0, 1).double()
    kept = (images(4, 1, (20, 20), seed=1) >= 0.5).double()
    least = objective(minimised(x, kept, 0.03, 2000), x, kept, 0.03)
    assert (objective(minimised(x, kept, 0.03, 40), x, kept, 0.03) < 1.02 * least).all()
    best = minimised(x, kept, 0.03, 2000)
    for seed in range(20):  # no neighbour is better: the objective is convex
        near = best + 1e-2 * torch.randn(best.shape, generator=torch.Generator().manual_seed(seed), dtype=best.dtype)
        assert (objective(near, x, kept, 0.03) > least).all()


def test_no_weight_and_nothing_dropped_leaves_the_image_and_a_great_weight_its_mean():
    x = images(3, 2, (8, 8)).double()
    kept = torch.ones(3, 1, 8, 8, dtype=torch.float64)
    assert torch.allclose(minimised(x, kept, 0.0, 5), x)
    assert torch.allclose(minimised(x, kept, 0.001, 200), x, atol=1e-3)
    flat = minimised(x, kept, 50.0, 3000)
    assert torch.allclose(flat, x.mean((2, 3), keepdim=True).expand_as(x), atol=2e-2)


def test_what_is_dropped_is_painted_from_its_neighbours():
    x = torch.full((1, 1, 8, 8), 0.3)
    kept = torch.ones_like(x)
    x[0, 0, 4, 4], kept[0, 0, 4, 4] = 1.0, 0.0
    assert torch.allclose(minimised(x, kept, 0.03, 60), torch.full_like(x, 0.3), atol=1e-3)


def test_a_dropped_pixel_moves_nothing():
    defence, x = TotalVariation(drop=0.5), images(2)
    x = x.requires_grad_()
    torch.manual_seed(3)
    (grad,) = torch.autograd.grad((defence(x) * images(2, seed=1)).sum(), x)
    torch.manual_seed(3)
    kept = torch.rand_like(x[:, :1]) >= 0.5
    assert not grad[~kept].any()
    assert (grad[kept] != 0).float().mean() > 0.9


def test_variation_may_be_differentiated_as_the_identity():
    x, weight = images(2).requires_grad_(), images(2, seed=1)
    defence = TotalVariation(gradient="identity", steps=5)
    (grad,) = torch.autograd.grad((defence(x) * weight).sum(), x)
    assert torch.equal(grad, weight)
    torch.manual_seed(0)
    with torch.no_grad():
        exact = TotalVariation(steps=5)(x)
    torch.manual_seed(0)
    assert torch.equal(defence(x), exact)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: BitDepth(0), "bits as a whole number from 1 to 8"),
        (lambda: BitDepth(2.5), "bits as a whole number"),
        (lambda: MedianSmoothing(1), "size as a whole number from 2"),
        (lambda: RandomResizePad(1.0), "ratio above 1"),
        (lambda: RandomResizePad(float("nan")), "ratio above 1"),
        (lambda: TotalVariation(weight=-1.0), "weight as a number >= 0"),
        (lambda: TotalVariation(drop=1.0), "drop as a chance"),
        (lambda: TotalVariation(steps=0), "steps as a whole number"),
        (lambda: TotalVariation(gradient="none"), "gradient as exact or identity"),
    ],
)
def test_wrong_settings_are_one_error(made, told):
    with pytest.raises(InputError, match=told):
        made()


def test_the_command_line_takes_transforms_with_settings(tmp_path, capsys):
    np.savez(
        tmp_path / "tiny.npz",
        images=images(6, 1, (8, 8)).numpy(),
        labels=np.arange(6),
        classes=np.arange(10).astype(str),
    )
    command = ["evaluate", "--data", str(tmp_path / "tiny.npz"), "--model", "mnist/cnn", "--attack", "fgsm"]
    command += ["--eps", "0.1", "--images", "0", "--no-curve", "--no-checks", "--out"]
    for defence in ("jpeg:quality=50", "bit-depth:bits=3", "median", "resize-pad", "total-variation:steps=3"):
        assert main([*command, str(tmp_path / defence.partition(":")[0]), "--defence", defence]) == 0
    capsys.readouterr()
    for defence, told in (("jpeg:quality=0", "from 1 to 100"), ("jpeg:bits=2", "setting of jpeg"), ("jpg", "jpeg")):
        assert main([*command, str(tmp_path / "out"), "--defence", defence]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
