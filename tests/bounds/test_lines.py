"""Lines around activations: on their own side everywhere, and near."""

import pytest
import torch
from torch.nn import functional as F

from steelman.bounds import activations, lines
from steelman.bounds.graph import Box

SHAPES = {
    "gelu": activations.GELU,
    "tanh gelu": activations.TANH_GELU,
    "sigmoid": activations.SIGMOID,
    "tanh": activations.TANH,
}


def boxes():
    """Intervals of every width, from a hundred-thousandth to thousands, about every place where something bends."""
    middle = torch.linspace(-6, 6, 97, dtype=torch.float64)[:, None]
    reach = torch.logspace(-5, 3.5, 60, dtype=torch.float64)
    reach = torch.cat([torch.zeros(1, dtype=torch.float64), reach])
    return Box(*torch.broadcast_tensors(middle - reach, middle + reach))


def gaps(f, found, box, count=4001):
    """How far the function is above its lower line and below its upper one, at many points of every interval."""
    share = torch.linspace(0, 1, count, dtype=torch.float64)
    low, high = torch.full_like(box.low, torch.inf), torch.full_like(box.low, torch.inf)
    for part in share.split(400):
        v = torch.lerp(box.low[..., None], box.high[..., None], part)
        value = f(v)
        low = torch.minimum(low, (value - found.low_slope[..., None] * v - found.low_shift[..., None]).amin(-1))
        high = torch.minimum(high, (found.high_slope[..., None] * v + found.high_shift[..., None] - value).amin(-1))
    return low, high


@pytest.mark.parametrize("name", SHAPES)
def test_a_smooth_function_never_crosses_its_lines(name):
    shape, box = SHAPES[name], boxes()
    fine = lines.smooth(shape.f, shape.slope, shape.largest_bend(box), box)
    scale = 1e-12 * (1 + box.largest)
    for found in (fine, activations.around(shape, box)):
        for gap in gaps(shape.f, found, box):
            assert bool((gap >= -scale).all())


@pytest.mark.parametrize("name", SHAPES)
def test_lines_are_near_the_best_there_are(name):
    """In the middle of an interval no line can be nearer than the function's convex or concave envelope.

    Of intervals up to a width of 9, that is: over wider ones the remainder counts.
    """
    shape, box = SHAPES[name], Box(*(end[:, 30:41] for end in boxes()))
    found = activations.around(shape, box)
    middle = (box.low + box.high) / 2
    for side, slope, shift in ((-1, *found[:2]), (1, *found[2:])):
        left = torch.linspace(0, 0.5, 101, dtype=torch.float64)
        a, b = left[:, None], 1 - left[None]
        at = [torch.lerp(box.low[..., None, None], box.high[..., None, None], share) for share in (a, b)]
        weight = torch.where(b > a, (b - 0.5) / torch.where(b > a, b - a, 1), 1)
        envelope = (side * (weight * shape.f(at[0]) + (1 - weight) * shape.f(at[1]))).flatten(-2).amax(-1)
        gap = side * (slope * middle + shift) - envelope
        assert float((gap / (box.high - box.low)).max()) < 0.01
        assert float(gap.min()) > -1e-9


@pytest.mark.parametrize("name", SHAPES)
def test_the_largest_bend_is_never_short(name):
    shape, box = SHAPES[name], boxes()
    found = shape.largest_bend(box)
    share = torch.linspace(0, 1, 500, dtype=torch.float64)
    seen = shape.bend(torch.lerp(box.low[..., None], box.high[..., None], share)).amax(-1)
    assert bool((seen <= found * (1 + 1e-9) + 1e-14).all())


@pytest.mark.parametrize("name", SHAPES)
def test_derivatives_are_those_of_autograd(name):
    shape = SHAPES[name]
    v = torch.linspace(-7, 7, 301, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(shape.f(v).sum(), v, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), v)
    assert torch.allclose(shape.slope(v), slope)
    assert torch.allclose(shape.bend(v), bend.abs(), atol=1e-12)


@pytest.mark.parametrize("name", ["gelu", "tanh gelu"])
def test_what_falls_before_it_rises(name):
    shape = SHAPES[name]
    v = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    assert float(shape.f(v).min()) >= float(shape.f(torch.tensor(shape.lowest, dtype=torch.float64))) - 1e-14
    below = F.relu(v) - shape.f(v)
    assert float(below.min()) >= 0
    assert float(below.max()) <= shape.dip


@pytest.mark.parametrize(
    ("f", "kinks"),
    [(lambda v: v.clamp(-0.5, 1.2), (-0.5, 1.2)), (lambda v: v.clamp(min=0.3), (0.3,)), (F.relu6, (0.0, 6.0))],
)
def test_a_kinked_function_never_crosses_its_lines(f, kinks):
    box = boxes()
    found = lines.kinked(f, kinks, box)
    for gap in gaps(f, found, box):
        assert bool((gap >= -1e-9 * (1 + box.largest)).all())


def test_relu_has_the_lines_of_crown():
    box = Box(torch.tensor([-1.0, -2.0, 1.0, -3.0]), torch.tensor([3.0, 1.0, 2.0, -1.0]))
    found = activations.rectified(torch.tensor(0.0), *box)
    assert found.high_slope.tolist() == pytest.approx([0.75, 1 / 3, 1, 0])
    assert found.high_shift.tolist() == pytest.approx([0.75, 2 / 3, 0, 0])
    assert found.low_slope.tolist() == [1, 0, 1, 0]
    assert found.low_shift.tolist() == [0, 0, 0, 0]
    general = lines.kinked(F.relu, (0.0,), box)
    for one, other in zip(found, general, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_leaky_relu_has_its_chord():
    box = Box(torch.tensor([-1.0]), torch.tensor([1.0]))
    found = activations.rectified(torch.tensor(0.2), *box)
    assert found.high_slope.item() == pytest.approx(0.6)
    assert found.high_shift.item() == pytest.approx(0.4)
