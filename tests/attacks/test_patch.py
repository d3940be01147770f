"""Patches: one sticker for all images, and localised noise for each."""

import math

import pytest
import torch
from torch import nn

from steelman import data, models
from steelman.attacks import Worst
from steelman.attacks.patch import lavan, patch
from steelman.errors import InputError
from steelman.norms import L0
from steelman.streams import Streams
from steelman.threat import Threat


@pytest.fixture(scope="module")
def mnist():
    test = data.load("mnist").test.sample(40, 0)
    return models.load("mnist/cnn"), test.x, test.y


def streams(n):
    return Streams.of(0, torch.arange(n))


def test_the_sticker_covers_its_area_at_any_place():
    learner = patch(area=0.05, scales=(1, 1)).learner
    x = torch.zeros(200, 3, 40, 60, dtype=torch.float64)
    seen = learner._stuck(x, torch.ones(3, 12, 12, dtype=torch.float64), streams(200))
    covered = seen[:, 0].mean((1, 2))
    assert torch.allclose(covered, torch.full_like(covered, 0.05), rtol=0.1)
    middle = [
        (seen[:, 0].sum(3 - axis) * torch.arange(side)).sum(1) / seen[:, 0].sum((1, 2))
        for axis, side in ((1, 40), (2, 60))
    ]
    radius = math.sqrt(0.05 * 40 * 60 / math.pi)
    for centre, side in zip(middle, (40, 60), strict=True):
        assert centre.min() > radius - 1
        assert centre.max() < side - radius
        assert centre.std() == pytest.approx((side - 2 * radius) / math.sqrt(12), rel=0.15)


def test_it_is_turned_and_scaled_as_it_was_drawn():
    x = torch.zeros(300, 1, 60, 60, dtype=torch.float64)
    half = torch.zeros(1, 20, 20, dtype=torch.float64)
    half[:, :, 10:] = 1
    seen = patch(area=0.1, rotation=30, scales=(0.8, 1.2)).learner._stuck(x - 1, half, streams(300))
    inside = seen >= 0
    share = inside.double().mean((1, 2, 3)) / 0.1
    assert float(share.min()) == pytest.approx(0.64, abs=0.05)
    assert float(share.max()) == pytest.approx(1.44, abs=0.05)
    row, column = torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij")
    lit = (seen[:, 0] > 0.5).double()
    dark = inside[:, 0].double() - lit
    ways = [
        ((lit * c).sum((1, 2)) / lit.sum((1, 2)) - (dark * c).sum((1, 2)) / dark.sum((1, 2))) for c in (column, row)
    ]
    degrees = torch.atan2(ways[1], ways[0]).rad2deg()
    assert float(degrees.abs().max()) == pytest.approx(30, abs=3)
    assert float(degrees.mean()) == pytest.approx(0, abs=3)


def test_a_sticker_breaks_more_than_one_of_noise_also_elsewhere(mnist):
    model, x, y = mnist
    attack = patch(area=0.1, steps=60, batch=20)
    learnt = attack.learnt(model, x, y, seed=1)
    other = data.load("mnist").test.sample(60, 1)
    ours = attack.showing(learnt)(model, other.x, other.y, seed=2)
    noise = attack.showing(torch.rand_like(learnt))(model, other.x, other.y, seed=2)
    grey = attack.showing(torch.full_like(learnt, 0.5))(model, other.x, other.y, seed=2)
    assert ours.accuracy < min(noise.accuracy, grey.accuracy)
    assert 0 < int(ours.distance.max()) < 0.2 * 784


def test_its_gradient_is_that_of_the_stuck_patch():
    """One step of Adam moves every value that is seen by the rate, along its gradient's sign."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).double()
    x = torch.rand(30, 3, 8, 8, dtype=torch.float64)
    y = model(x).argmax(1)
    first = patch(area=0.2, steps=1, rate=0.01).learnt(model, x, y)
    change = first - 0.5
    assert torch.allclose(change.abs()[change.abs() > 1e-4], torch.tensor(0.01, dtype=torch.float64), rtol=1e-2)
    assert (change.abs() > 1e-4).double().mean() > 0.5


def test_a_targeted_sticker_reaches_its_class(mnist):
    model, x, y = mnist
    wanted = torch.full_like(y, 8)
    result = patch(area=0.15, steps=60, batch=20, targeted=True)(model, x[y != 8], wanted[y != 8])
    assert int((result.broken & ~result.natural).sum()) > 5
    assert (model(result.x).argmax(1) == 8)[result.broken].all()


def test_localised_noise_stays_in_one_square(mnist):
    model, x, y = mnist
    result = lavan(area=0.05, steps=20, restarts=2)(model, x, y)
    side = round(math.sqrt(0.05) * 28)
    for one in (result.x - x)[:, 0]:
        rows, columns = one.any(1).nonzero().flatten(), one.any(0).nonzero().flatten()
        for places in (rows, columns):
            assert not len(places) or int(places.max() - places.min()) < side
    assert result.accuracy < 0.8
    assert (result.distance <= side**2).all()


def test_every_step_moves_by_size_within_the_square():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64)
    y = model(x).argmax(1)
    attack = lavan(area=0.25, steps=40, size=0.1, restarts=1).with_goal(Worst())
    result = attack(model, x, y)
    weight = (model[1].weight[1] - model[1].weight[0]).detach().view(8, 8)
    for one, image, label in zip(result.x, x, y, strict=True):
        changed = (one != image)[0]
        best = ((1 if label == 0 else -1) * weight > 0).double()
        assert torch.allclose(one[0][changed], best[changed])
        assert int(changed.sum()) == 16


def test_more_places_are_never_worse(mnist):
    model, x, y = mnist
    one, more = (lavan(area=0.04, steps=10, restarts=n)(model, x, y) for n in (1, 3))
    assert (more.margin >= one.margin).all()
    assert int(more.broken.sum()) > int(one.broken.sum())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: patch(area=0), "area as a number > 0"),
        (lambda: patch(scales=(1.2, 0.8)), "scales as"),
        (lambda: patch(rotation=200), "rotation as a number"),
        (lambda: lavan(steps=0), "steps as a whole number"),
        (lambda: lavan(Threat(L0(), low=-math.inf, high=math.inf)), "a box for a patch"),
        (lambda: patch(area=0.9).learnt(nn.Flatten(), torch.rand(2, 1, 8, 8), torch.tensor([0, 1])), "that fits into"),
        (
            lambda: patch().learnt(nn.Linear(4, 2), torch.rand(2, 4), torch.tensor([0, 1])),
            r"\(N, C, H, W\) for a patch",
        ),
        (lambda: lavan()(nn.Linear(4, 2), torch.rand(2, 4), torch.tensor([0, 1])), r"\(N, C, H, W\) for a patch"),
    ],
)
def test_bad_settings_are_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()
