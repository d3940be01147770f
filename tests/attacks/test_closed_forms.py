"""On a linear model the smallest perturbation is known: a budget attack succeeds exactly when eps exceeds it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from steelman.attacks import OfEps, bim, fgsm, pgd
from steelman.losses import cross_entropy, margin
from steelman.norms import L1, L2, Linf
from steelman.threat import Threat

DUAL = {Linf: 1, L2: 2, L1: torch.inf}
N, FEATURES = 24, 30


def linear(classes):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Linear(FEATURES, classes).double()


def points(model):
    x = torch.rand(N, FEATURES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return x, model(x).argmax(1)


def smallest(norm, model, x, y):
    """(N,): the distance to the nearest of the planes between class y and another, in a world without a box."""
    logits, weight = model(x).detach(), model.weight.detach()
    gap = logits.gather(1, y[:, None]) - logits
    slope = torch.linalg.vector_norm(weight[y][:, None] - weight[None], ord=DUAL[norm], dim=2)
    own = nn.functional.one_hot(y, len(weight)).bool()
    return (gap / slope.masked_fill(own, 1)).masked_fill(own, torch.inf).amin(1)


def smallest_in_box(model, x, y):
    """(N,): the same for Linf and two classes inside [0, 1], by bisection on how much eps can close of the gap."""
    logits, weight = model(x).detach(), model.weight.detach()
    gap = logits.gather(1, y[:, None])[:, 0] - logits.gather(1, 1 - y[:, None])[:, 0]
    slope = weight[1 - y] - weight[y]
    room = torch.where(slope > 0, 1 - x, x)
    low, high = torch.zeros(N).double(), torch.ones(N).double()
    for _ in range(60):
        middle = (low + high) / 2
        enough = (slope.abs() * room.clamp(max=middle[:, None])).sum(1) > gap
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high


def wide(ball):
    return Threat(ball, low=-1e3, high=1e3)


def crossing(threat, *, steps=60, **settings):
    """PGD whose steps can cross the ball and turn: those of its paper, 4/3 eps together, cannot from every start."""
    attack = pgd(threat, steps=steps, **settings)
    return replace(attack, rule=replace(attack.rule, size=OfEps(5 / steps)))


@pytest.mark.parametrize("norm", [Linf, L2, L1])
@pytest.mark.parametrize("recipe", [crossing, bim])
@pytest.mark.parametrize("targeted", [False, True])
def test_with_room_an_attack_needs_what_the_dual_norm_says(norm, recipe, targeted):
    model = linear(2)
    x, y = points(model)
    least = smallest(norm, model, x, y)
    labels = 1 - y if targeted else y
    enough = recipe(wide(norm(1.03 * least)), steps=60, targeted=targeted)(model, x, labels)
    assert enough.broken.all()
    short = recipe(wide(norm(0.999 * least)), steps=60, targeted=targeted)(model, x, labels)
    assert not short.broken.any()


@pytest.mark.parametrize("norm", [Linf, L2, L1])
def test_among_many_classes_none_breaks_below_the_nearest_plane(norm):
    model = linear(6)
    x, y = points(model)
    least = smallest(norm, model, x, y)
    for loss in (cross_entropy, margin):
        assert not crossing(wide(norm(0.999 * least)), restarts=3, loss=loss)(model, x, y).broken.any()
    enough = crossing(wide(norm(1.3 * least)), restarts=10, loss=margin)(model, x, y)
    assert enough.broken.double().mean() > 0.9


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_is_the_linf_optimum_of_a_linear_model(targeted):
    model = linear(2)
    x, y = points(model)
    least = smallest(Linf, model, x, y)
    labels = 1 - y if targeted else y
    assert fgsm(wide(Linf(least * (1 + 1e-9))), targeted=targeted)(model, x, labels).broken.all()
    assert not fgsm(wide(Linf(least * (1 - 1e-9))), targeted=targeted)(model, x, labels).broken.any()


def test_fgsm_and_pgd_are_the_linf_optimum_inside_the_unit_box_too():
    model = linear(2)
    x, y = points(model)
    least = smallest_in_box(model, x, y)
    reachable = least < 0.999
    assert reachable.sum() > N / 2
    x, y, least = x[reachable], y[reachable], least[reachable]
    assert (least > smallest(Linf, model, x, y) * 1.001).any()
    assert fgsm(Linf(least * (1 + 1e-9)))(model, x, y).broken.all()
    assert not fgsm(Linf(least * (1 - 1e-9)))(model, x, y).broken.any()
    assert crossing(Linf(1.01 * least))(model, x, y).broken.all()
    assert not crossing(Linf(0.999 * least))(model, x, y).broken.any()
