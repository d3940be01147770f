"""σ-zero: the loop of its authors, the fewest entries of a linear model, and its peer."""

import math

import pytest
import torch

from steelman.attacks import Last, sigma_zero
from steelman.errors import InputError
from steelman.norms import L0, L2

from .test_closed_forms import linear, points
from .test_peers import peer, subject  # noqa: F401
from .test_reference_loops import Recorder, images, network


def loop(model, x, y, steps, sign):
    """Cinà et al. 2025, algorithm 1 with Adam, one image at a time."""
    shown = []
    for clean, label in zip(x, y, strict=True):
        delta = torch.zeros_like(clean).requires_grad_()
        adam = torch.optim.Adam([delta], lr=1.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=steps, eta_min=0.1)
        tau, own = 0.3, [clean]
        for _ in range(steps):
            logits = model((clean + delta)[None])[0]
            others = torch.cat([logits[:label], logits[label + 1 :]]).max()
            gap = sign * (logits[label] - others)
            loss = gap.clamp_min(0) + (delta.square() / (delta.square() + 1e-3)).mean()
            delta.grad = torch.autograd.grad(loss, delta)[0]
            delta.grad /= delta.grad.abs().max()
            adam.step()
            schedule.step()
            tau += 0.01 * schedule.get_last_lr()[0] * (1 if gap < 0 else -1)
            tau = min(max(tau, 0), 1)
            with torch.no_grad():
                delta.copy_((clean + delta).clamp(0, 1) - clean)
                delta[delta.abs() < tau] = 0
            own.append((clean + delta).detach())
        shown.append(torch.stack(own))
    return torch.stack(shown, 1)


@pytest.mark.parametrize("targeted", [False, True])
def test_iterates_are_those_of_the_authors(targeted):
    model = network()
    x, y = images(model, 5)
    y = (y + 1) % 4 if targeted else y
    recorder = Recorder(model)
    sigma_zero(L0(), steps=12, targeted=targeted).with_goal(Last())(recorder, x, y)
    expected = loop(model, x, y, 12, -1 if targeted else 1)
    assert torch.allclose(torch.stack(recorder.shown), expected, rtol=0, atol=1e-8)


def fewest(model, x, y):
    """(N,): how many entries two classes take inside [0, 1], those that gain most first."""
    logits, weight = model(x).detach(), model.weight.detach()
    gap = logits.gather(1, y[:, None])[:, 0] - logits.gather(1, 1 - y[:, None])[:, 0]
    slope = weight[1 - y] - weight[y]
    gain = slope.abs() * torch.where(slope > 0, 1 - x, x)
    total = gain.sort(1, descending=True).values.cumsum(1)
    return (total <= gap[:, None]).sum(1) + 1


@pytest.mark.parametrize("targeted", [False, True])
def test_it_finds_the_fewest_entries_of_a_linear_model(targeted):
    model = linear(2)
    x, y = points(model)
    least = fewest(model, x, y)
    assert least.max() > least.min()
    result = sigma_zero(L0(), steps=300, targeted=targeted)(model, x, 1 - y if targeted else y)
    assert result.broken.all()
    assert (result.distance >= least).all()
    assert result.distance.sum() <= 1.05 * least.sum()


def test_a_finite_radius_is_how_many_entries_may_change():
    model = linear(2)
    x, y = points(model)
    least = fewest(model, x, y)
    enough = sigma_zero(L0((least + 1).double()), steps=200)(model, x, y)
    assert enough.broken.double().mean() > 0.9
    assert (enough.distance <= least + 1).all()
    assert not sigma_zero(L0((least - 1).double()), steps=50)(model, x, y).broken.any()


def test_its_peer_needs_no_less(subject):  # noqa: F811
    advlib = peer("adv_lib.attacks.sigma_zero")
    model, x, y = subject
    theirs = advlib.sigma_zero(model, x, y, num_steps=60)
    needed = torch.where(model(theirs).argmax(1) != y, (theirs != x).flatten(1).sum(1).float(), torch.inf)
    ours = sigma_zero(L0(), steps=60)(model, x, y)
    assert int(ours.broken.sum()) >= int(needed.isfinite().sum())
    assert ours.needed.median() <= needed.median()
    assert ours.needed.mean() <= 1.02 * needed.mean()


@pytest.mark.parametrize("bad", [{"steps": 0}, {"sigma": 0.0}, {"tau0": 2.0}, {"tau_rate": -1.0}, {"size": math.nan}])
def test_settings_that_make_no_attack_are_errors(bad):
    with pytest.raises(InputError, match="expected"):
        sigma_zero(L0(), **bad)
    with pytest.raises(InputError, match="expected L0 for sigma-zero"):
        sigma_zero(L2())
