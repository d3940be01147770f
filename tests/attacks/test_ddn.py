"""DDN: the loop of its paper, the optimum of a linear model, and its peers."""

import math
import warnings

import pytest
import torch
from torch.nn import functional as F

from steelman.attacks import Last, ddn
from steelman.errors import InputError
from steelman.norms import L1, L2
from steelman.threat import Threat

from .test_closed_forms import linear, points, smallest, wide
from .test_peers import peer, subject  # noqa: F401
from .test_reference_loops import Recorder, images, network


def loop(model, x, y, steps, gamma, norm, sign):
    """Rony et al. 2019, algorithm 1, one image at a time; the next step starts at the clipped candidate."""
    shown = []
    for clean, label in zip(x, y, strict=True):
        delta, radius, own = torch.zeros_like(clean), norm, [clean]
        for k in range(steps):
            at = (clean + delta).requires_grad_()
            logits = model(at[None])
            grad = torch.autograd.grad(sign * F.cross_entropy(logits, label[None]), at)[0]
            fooled = (logits.argmax() != label) == (sign > 0)
            alpha = 0.01 + 0.99 * (1 + math.cos(math.pi * k / steps)) / 2
            delta = delta + alpha * grad / grad.norm()
            radius = min(radius * (1 - gamma if fooled else 1 + gamma), torch.maximum(clean, 1 - clean).norm())
            delta = (clean + radius * delta / delta.norm()).clamp(0, 1) - clean
            own.append(clean + delta)
        shown.append(torch.stack(own))
    return torch.stack(shown, 1)


@pytest.mark.parametrize("targeted", [False, True])
def test_iterates_are_those_of_the_paper(targeted):
    model = network()
    x, y = images(model, 6)
    y = (y + 1) % 4 if targeted else y
    recorder = Recorder(model)
    ddn(L2(), steps=12, gamma=0.2, init_norm=0.4, targeted=targeted).with_goal(Last())(recorder, x, y)
    expected = loop(model, x, y, 12, 0.2, 0.4, -1 if targeted else 1)
    assert torch.allclose(torch.stack(recorder.shown), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("targeted", [False, True])
def test_it_finds_the_nearest_point_of_a_plane(targeted):
    model = linear(2)
    x, y = points(model)
    least = smallest(L2, model, x, y)
    result = ddn(wide(L2()), init_norm=0.3, targeted=targeted)(model, x, 1 - y if targeted else y)
    reachable = least > 0.3 * 0.95**99  # the radius shrinks no further
    assert reachable.sum() > len(x) - 2
    assert result.broken.all()
    assert (result.distance <= 1.05 * least)[reachable].all()


def test_no_gradient_is_a_random_direction():
    model = network()
    x, y = images(model, 4)
    flat = Recorder(lambda x: model(x) * 0 + 5 * F.one_hot(y, 4))
    result = ddn(L2(), steps=3, init_norm=0.3)(flat, x, y)
    assert not result.broken.any()
    assert all(shown.isfinite().all() for shown in flat.shown)
    moved = (flat.shown[1] - x).flatten(1)
    assert (moved.norm(dim=1) > 0).all()
    assert not torch.allclose(moved[0], moved[1])


def test_on_a_grid_what_it_keeps_is_on_it_and_broken():
    model = network()
    x, y = images(model)
    x = (x * 255).round() / 255
    y = model(x).argmax(1)
    result = ddn(Threat(L2(), levels=256))(model, x, y)
    free = ddn(L2())(model, x, y)
    assert torch.allclose(result.x * 255, (result.x * 255).round(), atol=1e-6)
    assert torch.equal(result.broken, free.broken)
    assert result.distance.median() <= 1.05 * free.distance.median()


@pytest.mark.parametrize("library", ["adv_lib.attacks", "foolbox"])
def test_no_peer_needs_less(subject, library):  # noqa: F811
    installed = peer(library)
    model, x, y = subject
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "foolbox":
            wrapped = installed.PyTorchModel(model, bounds=(0, 1), device="cpu")
            theirs = installed.attacks.DDNAttack(init_epsilon=1.0, steps=50).run(wrapped, x, y)
        else:
            theirs = installed.ddn(model, x, y, steps=50, levels=None)
    needed = torch.where(model(theirs).argmax(1) != y, (theirs - x).flatten(1).norm(dim=1), torch.inf)
    ours = ddn(L2(), steps=50)(model, x, y)
    assert int(ours.broken.sum()) >= int(needed.isfinite().sum())
    assert ours.needed.median() <= 1.002 * needed.median()


@pytest.mark.parametrize("bad", [{"steps": 0}, {"gamma": 1.0}, {"gamma": 0.0}, {"init_norm": 0.0}, {"gamma": "0.1"}])
def test_settings_that_make_no_attack_are_errors(bad):
    with pytest.raises(InputError, match="expected"):
        ddn(L2(), **bad)
    with pytest.raises(InputError, match="expected L2 for ddn"):
        ddn(L1())
