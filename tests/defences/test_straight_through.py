"""BPDA: a stage that runs as itself and is differentiated as another."""

import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import Last, fgsm
from steelman.defences import StraightThrough
from steelman.norms import Linf


def images(n=4, channels=1, side=32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def test_straight_through_runs_the_stage_and_passes_the_gradient():
    x = images(2, side=4).requires_grad_()
    stage = StraightThrough(torch.round)
    out = stage(x)
    assert torch.equal(out, torch.round(x))
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    (out * weight).sum().backward()
    assert torch.equal(x.grad, weight)
    with torch.no_grad():
        assert torch.equal(stage(x), torch.round(x))


def test_straight_through_is_differentiated_as_its_stand_in():
    x = images(2, side=4).requires_grad_()
    soft = nn.Sequential(nn.AvgPool2d(3, 1, 1))
    out = StraightThrough(torch.round, backward=soft)(x)
    assert torch.equal(out, torch.round(x))
    (grad,) = torch.autograd.grad(out.square().sum(), x)
    (expected,) = torch.autograd.grad((soft(x) * (2 * torch.round(x))).sum(), x)
    assert torch.allclose(grad, expected)


def test_straight_through_of_the_identity_gives_a_value_of_its_own():
    x = images(1, side=4).requires_grad_()
    out = StraightThrough(lambda x: x)(x)
    assert torch.equal(out, x)
    assert out.data_ptr() != x.data_ptr()


def test_straight_through_opens_a_stage_that_hides_its_gradient():
    hidden, model = torch.round, nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x, y = images(6, side=4), torch.zeros(6, dtype=torch.int64)
    attack = fgsm(Linf(0.3)).with_goal(Last())
    closed = attack(lambda x: model(hidden(x)), x, y)
    assert torch.equal(closed.x, x)
    opened = attack(nn.Sequential(StraightThrough(hidden), model), x, y)
    moved = hidden(x).requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
    assert torch.allclose(opened.x, (x + 0.3 * grad.sign()).clamp(0, 1), atol=1e-6)
