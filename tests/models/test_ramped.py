"""The ramp: its closed form, the slope it shows to a gradient, and what bounds make of it."""

import pytest
import torch

from steelman import bounds
from steelman.models import Ramp, RampCNN, RampResNet


def images(n=3, side=28):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(0))


def test_it_is_a_clamped_line_between_its_ends():
    x = torch.tensor([[[[0.0, 0.3, 0.5, 0.6, 0.7, 1.0]]]])
    expected = torch.tensor([[[[0.0, 0.0, 0.5, 0.75, 1.0, 1.0]]]])
    assert torch.allclose(Ramp(0.3, 0.7)(x), expected, atol=1e-6)
    assert torch.equal(Ramp()(images()), images())


def test_no_change_beyond_its_ends_is_seen():
    x = torch.tensor([[[[0.0, 1.0]]]])
    ramp = Ramp(0.3, 0.7)
    assert torch.equal(ramp(x), ramp(torch.tensor([[[[0.3, 0.7]]]])))


def test_a_gradient_leads_through_where_the_clamp_is_flat():
    x = torch.tensor([[[[0.1, 0.5, 0.9]]]], requires_grad=True)
    Ramp(0.3, 0.7)(x).sum().backward()
    assert torch.allclose(x.grad, torch.full_like(x, 2.5))


def test_its_ends_learn_by_the_exact_slope():
    x = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    push = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ramp = Ramp(0.3, 0.7).double()
    (ramp(x) * push).sum().backward()
    low, high = (torch.tensor(end, dtype=torch.float64, requires_grad=True) for end in (0.3, 0.7))
    (((x - low) / (high - low)).clamp(0, 1) * push).sum().backward()
    assert torch.allclose(ramp.low.grad, low.grad, atol=1e-6)
    assert torch.allclose(ramp.high.grad, high.grad, atol=1e-6)


@pytest.mark.parametrize("side", [20, 28, 32])
@pytest.mark.parametrize("kind", [RampCNN, RampResNet])
def test_any_side_comes_to_the_same_layers(kind, side):
    assert kind(width=4, hidden=8).eval()(images(side=side)).shape == (3, 10)


def test_interval_bounds_are_those_of_the_two_ends():
    """On a network without negative weights the greatest logit stands at the brightest image, so bounds are exact."""
    torch.manual_seed(0)
    model = RampCNN(width=2, hidden=6).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
        model.ramp.low.fill_(0.3)
        model.ramp.high.fill_(0.7)
    x = images()
    found = bounds.interval(model, x, 0.2)
    assert torch.allclose(found.upper, model((x + 0.2).clamp(0, 1)), rtol=1e-4, atol=1e-5)
    assert torch.allclose(found.lower, model((x - 0.2).clamp(0, 1)), rtol=1e-4, atol=1e-5)


def test_it_begins_with_bounds_that_do_not_grow():
    """As torch begins them, the boxes of the logits are about 29 wide over pixels of .2."""
    torch.manual_seed(0)
    model = RampCNN().eval()
    with torch.no_grad():
        found = bounds.interval(model, images(), 0.1)
    assert 0.1 < float((found.upper - found.lower).mean()) < 1
