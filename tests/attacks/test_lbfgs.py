"""The L-BFGS attack: against SciPy's, and closed forms."""

import numpy as np
import pytest
import torch
from scipy.optimize import fmin_l_bfgs_b
from torch.nn import functional as F

from steelman.attacks import lbfgs
from steelman.errors import InputError
from steelman.losses import log_rest, margin
from steelman.norms import L2, Linf
from steelman.threat import Threat

from .test_closed_forms import smallest
from .test_cw import problem
from .test_reference_loops import images, network


def value(model, x, y, *, targeted):
    return -F.cross_entropy(model(x), y, reduction="none") if targeted else log_rest(model(x), y)


def by_scipy(model, x, y, *, targeted, searches=9):
    """The nearest point that breaks one image of all that SciPy's solver asks about, by bisection over c."""
    best, c, low, high = np.inf, 1e-2, 0.0, 1e10
    shape, clean = x.shape, x.flatten().numpy()
    for _ in range(searches):
        broken = False

        def objective(flat, c=c):
            nonlocal best, broken
            at = torch.from_numpy(flat).view(shape).clone().requires_grad_()
            loss = (at - x).square().sum() - c * value(model, at, y, targeted=targeted).sum()
            if (-1 if targeted else 1) * float(margin(model(at), y).detach()) > 0:
                broken, best = True, min(best, float((at.detach() - x).norm()))
            return float(loss.detach()), torch.autograd.grad(loss, at)[0].flatten().numpy()

        fmin_l_bfgs_b(objective, clean, bounds=[(0, 1)] * len(clean), m=10, maxiter=100)
        low, high = (low, min(high, c)) if broken else (max(low, c), high)
        c = (low + high) / 2 if high < 1e10 else 10 * c
    return best


@pytest.mark.parametrize("targeted", [False, True])
def test_scipy_finds_nothing_much_nearer(targeted):
    model = network()
    x, y = images(model, 5)
    y = (y + 1) % 4 if targeted else y
    theirs = torch.tensor([by_scipy(model, x[i : i + 1], y[i : i + 1], targeted=targeted) for i in range(5)])
    result = lbfgs(L2(), targeted=targeted)(model, x, y)
    assert torch.isfinite(theirs).sum() >= 4
    assert (result.needed <= 1.03 * theirs).all()


@pytest.mark.parametrize("targeted", [False, True])
def test_with_one_constant_it_ends_in_scipys_minimum(targeted):
    """One search at one c is a convex problem on a linear model: both solvers must end in the same point."""
    model, x, y = problem()
    y = 1 - y if targeted else y
    shown = []

    def recorded(z):
        shown.append(z.detach().clone())
        return model(z)

    lbfgs(L2(), searches=1, first=0.3, steps=200, tolerance=1e-12, targeted=targeted)(recorded, x[:1], y[:1])

    def objective(flat):
        at = torch.from_numpy(flat).view(1, -1).clone().requires_grad_()
        loss = (at - x[:1]).square().sum() - 0.3 * value(model, at, y[:1], targeted=targeted).sum()
        return float(loss.detach()), torch.autograd.grad(loss, at)[0].flatten().numpy()

    bounds = [(0, 1)] * x.shape[1]
    _, least, _ = fmin_l_bfgs_b(objective, x[0].numpy(), bounds=bounds, factr=10, pgtol=1e-10)
    ours = min(objective(z[0].numpy())[0] for z in shown)
    assert ours == pytest.approx(least, rel=1e-6)


@pytest.mark.parametrize("targeted", [False, True])
def test_what_a_linear_model_needs_is_found(targeted):
    model, x, y = problem()
    result = lbfgs(L2(), targeted=targeted)(model, x, 1 - y if targeted else y)
    least = smallest(L2, model, x, y)
    assert result.broken.all()
    assert (result.distance >= least - 1e-9).all()
    assert (result.distance <= 1.05 * least).all()


def test_the_box_binds_and_is_used():
    """At its edge an entry stops, and the others do its part: the nearest point of the box, by a long projection."""
    model, _, _ = problem()
    x = torch.rand(24, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64).round()
    y = model(x).argmax(1)
    result = lbfgs(L2())(model, x, y)
    slope = (model.weight[1 - y] - model.weight[y]).detach()
    gap = -margin(model(x), y).detach()
    low, high = torch.zeros(24).double(), torch.full((24,), 1e3).double()
    for _ in range(80):
        middle = (low + high) / 2
        enough = (slope * ((x + middle[:, None] * slope).clamp(0, 1) - x)).sum(1) > gap
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    least = ((x + high[:, None] * slope).clamp(0, 1) - x).norm(dim=1)
    reachable = high < 999
    assert reachable.any()
    assert (least > 1.2 * smallest(L2, model, x, y))[reachable].any()
    assert result.broken[reachable].all()
    assert (result.distance <= 1.05 * least)[reachable].all()


def test_a_box_of_another_size_has_the_same_attack():
    model, x, y = problem()
    one = lbfgs(L2(), steps=40)(model, x, y)
    large = lbfgs(Threat(L2(), low=0, high=255), steps=40)(lambda z: model(z / 255), 255 * x, y)
    assert torch.allclose(large.distance, 255 * one.distance, rtol=1e-4)


def test_where_there_is_no_gradient_nothing_moves():
    x = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    result = lbfgs(L2(), steps=10)(lambda x: torch.stack([0 * x.sum(1) + 2, 0 * x.sum(1)], 1), x, torch.zeros(3).long())
    assert not result.broken.any()
    assert torch.equal(result.x, x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory": 0}, "expected memory as a whole number >= 1"),
        ({"searches": 0}, "expected searches as a whole number >= 1"),
        ({"first": 0.0}, "expected first as a number > 0"),
        ({"tolerance": 0.0}, "expected tolerance as a number > 0"),
    ],
)
def test_bad_settings_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        lbfgs(L2(), **settings)
    with pytest.raises(InputError, match="expected L2 for lbfgs"):
        lbfgs(Linf())
