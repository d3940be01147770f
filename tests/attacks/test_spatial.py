"""Rotations and shifts, against scipy's and against loops that try every one."""

import itertools
import math
import warnings

import pytest
import torch
from scipy import ndimage
from torch import nn

from steelman import data, models
from steelman.attacks import Break, Worst
from steelman.attacks.spatial import moved, spatial
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L2
from steelman.threat import Threat

from .test_peers import peer


@pytest.fixture(scope="module")
def mnist():
    test = data.load("mnist").test.sample(40, 0)
    return models.load("mnist/cnn"), test.x, test.y


class Pixels(nn.Module):
    """Smooth in the image, for images of any size."""

    def __init__(self, shape):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 3)).double()

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize("degrees", [-30.0, 7.5, 90.0])
def test_turning_is_scipys(degrees):
    x = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    ours = moved(x, torch.tensor([[degrees, 0, 0]] * 2, dtype=torch.float64))
    theirs = ndimage.rotate(x.numpy(), degrees, axes=(2, 3), reshape=False, order=1, mode="grid-constant")
    assert torch.allclose(ours, torch.as_tensor(theirs), atol=1e-9)


@pytest.mark.parametrize("side", [(9, 9), (6, 12)])
def test_shifting_is_scipys(side):
    x = torch.rand(1, 2, *side, dtype=torch.float64)
    ours = moved(x, torch.tensor([[0, 0.3, -0.1]], dtype=torch.float64))
    down, right = -0.1 * side[0], 0.3 * side[1]
    theirs = ndimage.shift(x.numpy(), (0, 0, down, right), order=1, mode="grid-constant")
    assert torch.allclose(ours, torch.as_tensor(theirs), atol=1e-9)


def test_an_oblong_image_turns_without_being_bent():
    x = torch.rand(1, 1, 6, 12, dtype=torch.float64)
    ours = moved(x, torch.tensor([[20.0, 0, 0]], dtype=torch.float64))
    theirs = ndimage.rotate(x.numpy(), 20, axes=(2, 3), reshape=False, order=1, mode="grid-constant")
    assert torch.allclose(ours, torch.as_tensor(theirs), atol=1e-9)


def test_it_turns_first_and_shifts_then():
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    both = moved(x, torch.tensor([[90.0, 0.25, 0.125]], dtype=torch.float64))
    turned = moved(x, torch.tensor([[90.0, 0, 0]], dtype=torch.float64))
    assert torch.allclose(both, moved(turned, torch.tensor([[0, 0.25, 0.125]], dtype=torch.float64)), atol=1e-9)


@pytest.mark.parametrize("goal", [Break(), Worst()])
def test_it_is_the_worst_of_the_whole_grid(goal):
    shape = (2, 7, 5)
    model = Pixels(shape)
    x = torch.rand(30, *shape, dtype=torch.float64)
    y = model(x).argmax(1)
    result = spatial(rotation=8, translation=0.04, grid=(5, 3)).with_goal(goal)(model, x, y, slots=7)
    worst = margin(model(x), y).detach()
    for degrees, right, down in itertools.product((-8, -4, 0, 4, 8), (-0.04, 0, 0.04), (-0.04, 0, 0.04)):
        move = torch.tensor([[degrees, right, down]], dtype=torch.float64).expand(30, -1)
        worst = torch.maximum(worst, margin(model(moved(x, move)), y).detach())
    assert torch.equal(result.broken, worst > 0)
    if goal == Worst():
        assert torch.allclose(result.margin, worst)
    assert 0.2 < result.accuracy < 0.9
    assert (result.forwards[~result.broken] == 5 * 3 * 3).all()
    assert (result.forwards <= 5 * 3 * 3).all()


def test_in_a_peers_order_no_fewer_break_than_it_finds(mnist):
    """Foolbox shifts first and turns then, which reaches up to 4.1 pixels; the authors' code turns first, as ours."""
    foolbox = peer("foolbox")
    model, x, y = mnist
    attack = foolbox.attacks.SpatialAttack(3, 30, 3, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, theirs = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y)
    broken = {"shift first": torch.zeros(40, dtype=torch.bool), "turn first": torch.zeros(40, dtype=torch.bool)}
    for degrees, right, down in itertools.product((-30, -20, -10, 0, 10, 20, 30), (-1, 0, 1), (-1, 0, 1)):
        turn = torch.tensor([[degrees, 0.0, 0.0]]).expand(40, -1)
        shift = torch.tensor([[0.0, right * 3 / 28, down * 3 / 28]]).expand(40, -1)
        for order, (one, other) in {"shift first": (shift, turn), "turn first": (turn, shift)}.items():
            broken[order] |= model(moved(moved(x, one), other)).argmax(1) != y
    assert int(theirs.sum()) > 10
    assert int(broken["shift first"].sum()) >= int(theirs.sum()) - 1
    assert torch.equal(spatial(grid=(7, 3))(model, x, y).broken, broken["turn first"])


def test_random_moves_stay_in_their_range_and_are_each_samples_own(mnist):
    model, x, y = mnist
    ten = spatial(draws=10)
    result = ten(model, x, y, seed=3)
    assert (result.forwards <= 11).all()
    assert (result.forwards[~result.broken] == 11).all()
    moves = ten.rule.moves(_streams(40), x)
    assert moves.shape == (40, 10, 3)
    assert (moves.abs() <= torch.tensor([30, 3 / 28, 3 / 28])).all()
    assert len(moves.flatten().unique()) > 1000
    assert ten(model, x, y, seed=4).x.ne(result.x).any()


def test_the_largest_moves_come_first(mnist):
    moves = spatial().rule.moves(_streams(2), mnist[1][:2])
    assert moves.shape == (2, 31 * 5 * 5 - 1, 3)
    unit = moves[0] / torch.tensor([30, 3 / 28, 3 / 28])
    length = unit.norm(dim=1)
    assert (length.diff() <= 1e-5).all()
    assert length[-1] > 0


def test_a_ball_or_a_grid_of_levels_holds_too(mnist):
    model, x, y = mnist
    x = (x * 255).round() / 255
    result = spatial(Threat(L2(6.0), levels=256), grid=(5, 3))(model, x, y)
    assert (result.distance <= 6 + 1e-5).all()
    assert torch.equal(result.x, (result.x * 255).round() / 255)
    assert 0 < result.accuracy < 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rotation": -1}, r"rotation as a number in \[0, 180\]"),
        ({"translation": 3}, r"translation as a number in \[0, 1\]"),
        ({"grid": (0, 5)}, "whole number >= 1"),
        ({"grid": (5,)}, "angles, shifts"),
        ({"grid": (1, 1)}, "more than the image itself"),
        ({"draws": 0}, "draws as a whole number"),
    ],
)
def test_bad_settings_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        spatial(**settings)


def test_what_is_no_image_is_an_error():
    with pytest.raises(InputError, match=r"\(N, C, H, W\) for spatial"):
        spatial()(nn.Linear(12, 3), torch.rand(4, 12), torch.zeros(4, dtype=torch.int64))


def _streams(n):
    from steelman.streams import Streams

    return Streams.of(0, torch.arange(n))
