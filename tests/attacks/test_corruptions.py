"""The common corruptions: each against its formula, all of them as one attack."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from steelman import data, models
from steelman.attacks import Last
from steelman.attacks.corruptions.blurs import defocused, drawn_out, glassy, magnified, smooth
from steelman.attacks.corruptions.digital import elastic_transform, pixelate, saturate
from steelman.attacks.corruptions.distortions import kinds
from steelman.attacks.corruptions.weather import brightness, plasma
from steelman.attacks.corruptions.worst_of import accuracies, corruptions
from steelman.errors import InputError
from steelman.norms import Linf
from steelman.streams import Streams
from steelman.threat import Threat

GREY = [name for name, kind in kinds.items() if not kind.colour]


def streams(n):
    return Streams.of(7, torch.arange(n))


@pytest.fixture(scope="module")
def mnist():
    test = data.load("mnist").test.sample(60, 0)
    return models.load("mnist/cnn"), test.x, test.y


@pytest.mark.parametrize("name", kinds)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 20, 11), (1, 4, 3), (3, 100, 100)], ids=str)
def test_every_kind_keeps_shape_box_and_stream(name, shape):
    if shape[0] == 1 and kinds[name].colour:
        pytest.skip("of colours alone")
    x = torch.rand(4, *shape, dtype=torch.float64)
    before = x.clone()
    for severity in (1, 3, 5):
        found = kinds[name](x, severity, streams(4))
        assert found.shape == x.shape
        assert found.dtype == x.dtype
        assert found.isfinite().all()
        assert found.min() >= 0
        assert found.max() <= 1
        assert torch.equal(x, before)
        part = kinds[name](x[[3, 1]], severity, Streams(streams(4).key[[3, 1]]))
        assert torch.allclose(part, found[[3, 1]], atol=1e-9)


@pytest.mark.parametrize("name", [name for name in GREY if name != "elastic_transform"])
def test_the_last_severity_changes_more_than_the_first(name, mnist):
    x = mnist[1]
    mild, _, _, _, harsh = (kinds[name](x, severity, streams(60)) for severity in (1, 2, 3, 4, 5))
    assert (harsh - x).norm() > 1.05 * (mild - x).norm() > 0


def test_noise_has_its_moments():
    x = torch.full((2, 3, 64, 64), 0.5, dtype=torch.float64)
    normal = kinds["gaussian_noise"](x, 3, streams(2)) - x
    assert float(normal.std()) == pytest.approx(0.08, rel=0.03)
    shot = kinds["shot_noise"](x, 5, streams(2))
    assert float(shot.mean()) == pytest.approx(0.5, rel=0.01)
    assert float(shot.std()) == pytest.approx(math.sqrt(0.5 / 50), rel=0.03)
    assert torch.allclose(shot * 50, (shot * 50).round(), atol=1e-9)
    impulse = kinds["impulse_noise"](x, 5, streams(2))
    assert float((impulse != x).double().mean()) == pytest.approx(0.07, rel=0.1)
    assert float((impulse == 1).double().mean()) == pytest.approx(0.035, rel=0.15)
    speckle = kinds["speckle_noise"](x, 3, streams(2)) - x
    assert float(speckle.std()) == pytest.approx(0.06, rel=0.03)


def test_every_severity_of_a_sample_draws_anew():
    x = torch.full((1, 1, 32, 32), 0.5)
    one, two = (kinds["gaussian_noise"](x, severity, streams(1)) - x for severity in (1, 2))
    assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.15


@pytest.mark.parametrize(("reflect", "mode"), [(False, "nearest"), (True, "reflect")])
@pytest.mark.parametrize("sigma", [0.4, 2.0, 15.0])
def test_smoothing_is_scipys(reflect, mode, sigma):
    x = torch.rand(2, 3, 12, 9, dtype=torch.float64)
    reach = max(1, math.ceil(4 * sigma))
    theirs = ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode=mode, radius=(0, 0, reach, reach))
    assert torch.allclose(smooth(x, sigma, reflect=reflect), torch.as_tensor(theirs), atol=1e-9)


def test_a_lens_out_of_focus_spreads_a_point_over_a_disk():
    x = torch.zeros(1, 1, 33, 33, dtype=torch.float64)
    x[0, 0, 16, 16] = 1
    disk = defocused(x, (8, 1e-3), streams(1), 1.0)[0, 0]
    row, column = torch.meshgrid(torch.arange(33) - 16, torch.arange(33) - 16, indexing="ij")
    inside = row**2 + column**2 <= 64
    assert torch.allclose(disk, inside / inside.sum().double(), atol=1e-9)


def test_glass_exchanges_neighbours_and_loses_none():
    x = torch.arange(400, dtype=torch.float64).view(1, 1, 20, 20)
    found = glassy(x, (0, 2, 1), streams(1), 1.0)
    assert torch.equal(found.flatten().sort().values, x.flatten())
    moved = (found != x).double().mean()
    assert 0.5 < float(moved) < 1
    # Nothing jumps: after one turn most pixels are within two steps' reach of where they were.
    far = ((found // 20 - x // 20).abs() + (found % 20 - x % 20).abs()) / 2
    assert float(far.median()) <= 4


def test_motion_draws_a_point_out_along_its_angle():
    x = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    x[0, 0, 10, 10] = 1
    line = drawn_out(x, 3, 2.0, torch.zeros(1, dtype=torch.float64))[0, 0]
    weight = torch.exp(-0.5 * (torch.arange(7, dtype=torch.float64) / 2) ** 2)
    assert torch.allclose(line[10, 4:11].flip(0), weight / weight.sum(), atol=1e-9)
    down = drawn_out(x, 3, 2.0, torch.full((1,), math.pi / 2, dtype=torch.float64))[0, 0]
    assert torch.allclose(down, line.T, atol=1e-9)


def test_zooming_in_magnifies_the_middle():
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    x[..., 3:5, 3:5] = 1
    assert torch.equal((magnified(x, 2.0) > 0.5).double().sum(), torch.tensor(16.0, dtype=torch.float64))


def test_clouds_cover_the_unit_interval_and_get_rougher_as_they_decay_less():
    like = torch.zeros(3, 1, 1, 1, dtype=torch.float64)
    smoothed, rough = plasma(streams(3), 64, 3.0, like), plasma(streams(3), 64, 1.5, like)
    for sky in (smoothed, rough):
        assert torch.equal(sky.amin((1, 2)), torch.zeros(3, dtype=torch.float64))
        assert torch.equal(sky.amax((1, 2)), torch.ones(3, dtype=torch.float64))
    assert rough.diff(dim=1).abs().mean() > 2 * smoothed.diff(dim=1).abs().mean()
    assert not torch.equal(rough[0], rough[1])


def test_light_and_colour_keep_the_hue():
    import colorsys

    x = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    for ours, change in (
        (brightness(x, (0.2,), streams(1), 1.0), lambda h, s, v: (h, s, min(1, v + 0.2))),
        (saturate(x, (2, 0.1), streams(1), 1.0), lambda h, s, v: (h, min(1, 2 * s + 0.1), v)),
    ):
        for row in range(4):
            for column in range(4):
                expected = colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*x[0, :, row, column].tolist())))
                assert ours[0, :, row, column].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.95, 0.65, 0.5, 0.25])
def test_large_pixels_are_pillows(share):
    levels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    few = int(28 * share)
    theirs = Image.fromarray(levels).resize((few, few), Image.Resampling.BOX).resize((28, 28), Image.Resampling.BOX)
    x = torch.from_numpy(levels).double()[None, None] / 255
    ours = pixelate(x, (share,), streams(1), 1.0)
    assert torch.allclose(ours[0, 0], torch.from_numpy(np.array(theirs)).double() / 255, atol=1.01 / 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_is_what_pillow_writes(channels):
    levels = np.random.default_rng(0).integers(0, 256, (2, 20, 17, channels), dtype=np.uint8)
    x = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    ours = kinds["jpeg_compression"](x, 5, streams(2))
    for at in range(2):
        file = io.BytesIO()
        Image.fromarray(levels[at].squeeze()).save(file, "JPEG", quality=40)
        theirs = torch.from_numpy(np.array(Image.open(file))).float().view(20, 17, channels).permute(2, 0, 1) / 255
        assert torch.allclose(ours[at], theirs)


def test_a_sheet_that_is_not_pulled_stays():
    x = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    assert torch.allclose(elastic_transform(x, (0, 0, 0), streams(2), 1.0), x, atol=1e-9)
    assert not torch.allclose(elastic_transform(x, (0.1, 0.03, 0), streams(2), 1.0), x, atol=1e-2)


def test_the_worst_of_all_is_broken_by_the_one_it_names(mnist):
    model, x, y = mnist
    attack = corruptions(severities=5, only=["contrast", "glass_blur", "fog"])
    result = attack(model, x, y, seed=3)
    alive = torch.arange(60)
    for at, single in enumerate(attack.attacks):
        alone = single(model, x[alive], y[alive], seed=3 + 7919 * at, indices=alive)
        new = alive[alone.broken & ~alone.natural]
        assert (result.by[new] == at).all()
        assert torch.equal(result.x[new], alone.x[alone.broken & ~alone.natural])
        alive = alive[~alone.broken]
    assert torch.equal((~result.broken).nonzero().flatten(), alive)
    assert 0 < result.accuracy < 1
    assert result.by.unique().numel() > 2


def test_each_accuracy_is_that_of_the_corrupted_images(mnist):
    model, x, y = mnist
    found = accuracies(model, x, y, severities=(1, 5), only=["contrast", "glass_blur"], seed=3)
    assert list(found) == ["contrast", "glass_blur"]
    for name, by_severity in found.items():
        for severity, accuracy in by_severity.items():
            attack = corruptions(severities=severity, only=[name]).attacks[0].with_goal(Last())
            assert attack(model, x, y, seed=3).accuracy == pytest.approx(accuracy)
    assert found["contrast"][5] < found["contrast"][1]
    order = torch.randperm(60)
    other = accuracies(model, x[order], y[order], severities=5, only=["glass_blur"], seed=3, indices=order)
    assert other["glass_blur"][5] == pytest.approx(found["glass_blur"][5])


def test_all_kinds_but_those_of_colours_are_tried_unless_told():
    assert [attack.name for attack in corruptions().attacks] == GREY
    assert "saturate" not in GREY


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"severities": 6}, "severities from 1 to 5, got 6"),
        ({"severities": ()}, "severities from 1 to 5"),
        ({"only": ["glas_blur"]}, "did you mean glass_blur"),
        ({"only": []}, "a list of corruptions"),
        ({"threat": Threat(Linf(), low=-1)}, "a box from 0 to 1"),
    ],
)
def test_bad_settings_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        corruptions(**settings)


def test_what_is_no_image_is_an_error():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    labels = torch.zeros(2, dtype=torch.int64)
    model[1].bias.data[0] += 9
    for shape in ((12,), (2, 3, 2), (4, 3)):
        with pytest.raises(InputError, match=r"\(N, 1 or 3, H, W\) for corruptions"):
            corruptions(only=["contrast"])(model, torch.rand(2, *shape), labels)
    with pytest.raises(InputError, match="colour images for saturate"):
        corruptions(only=["saturate"])(model, torch.rand(2, 1, 4, 3), labels)
    with pytest.raises(InputError, match="a severity from 1 to 5"):
        kinds["contrast"](torch.rand(2, 1, 4, 3), 0, streams(2))
