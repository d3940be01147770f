"""The elastic-net attack: against a loop written from the paper, closed forms and peers."""

import pytest
import torch

from steelman.attacks import ead
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L1, L2

from .test_closed_forms import smallest
from .test_cw import problem
from .test_peers import peer, subject  # noqa: F401
from .test_reference_loops import Recorder, images, network


def paper(model, x, y, *, searches, steps, c, beta, sign):
    """Algorithm 1 from the clean image: the points at which the gradient is taken."""
    c, low, high = (torch.full((len(x),), value, dtype=torch.float64) for value in (c, 0.0, 1e10))
    seen = []
    for _ in range(searches):
        last = slack = x
        broken = torch.zeros(len(x)).bool()
        for k in range(steps):
            at = slack.clone().requires_grad_()
            smooth = (at - x).flatten(1).square().sum(1) + c * (-sign * margin(model(at), y)).clamp_min(0)
            step = slack - 0.01 * (1 - k / steps) ** 0.5 * torch.autograd.grad(smooth.sum(), at)[0]
            up, down = (step - beta).clamp(max=1), (step + beta).clamp(min=0)
            new = torch.where(step - x > beta, up, torch.where(step - x < -beta, down, x))
            slack = (new + k / (k + 3) * (new - last)).clamp(0, 1)
            last = new
            seen.append(slack)
            broken |= sign * margin(model(slack), y) > 0
        high = torch.where(broken, torch.minimum(high, c), high)
        low = torch.where(broken, low, torch.maximum(low, c))
        c = torch.where(high < 1e9, (low + high) / 2, 10 * c)
    return seen


@pytest.mark.parametrize("targeted", [False, True])
def test_iterates_are_those_of_the_paper(targeted):
    model = network()
    x, y = images(model, 8)
    y = (y + 1) % 4 if targeted else y
    recorder = Recorder(model)
    attack = ead(L1(), searches=5, steps=12, first=1e-1, checks=0, warm=False, targeted=targeted)
    result = attack(recorder, x, y)
    clean, *seen = recorder.shown
    sign = -1 if targeted else 1
    expected = paper(model, x, y, searches=5, steps=12, c=1e-1, beta=1e-3, sign=sign)
    assert torch.equal(clean, x)
    assert len(seen) == len(expected) == 60
    for ours, theirs in zip(seen, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-10)
    far = (torch.stack(expected) - x).flatten(2).abs().sum(2)
    holds = torch.stack([sign * margin(model(image), y) <= 0 for image in expected])
    assert (~holds).any()
    assert torch.allclose(result.needed, far.masked_fill(holds, torch.inf).amin(0), atol=1e-9)


@pytest.mark.parametrize("targeted", [False, True])
def test_a_large_beta_finds_the_l1_optimum_of_a_linear_model(targeted):
    """Of the elastic net the L1 part alone is sparse; its least change uses the entry of the largest weight."""
    model, x, y = problem()
    result = ead(L1(), beta=2e-2, steps=100, size=0.003, targeted=targeted)(model, x, 1 - y if targeted else y)
    least = smallest(L1, model, x, y)
    assert result.broken.all()
    assert (result.distance >= least - 1e-9).all()
    assert (result.distance / least).median() < 1.05


def test_leaving_searches_saves_work_and_loses_nothing():
    model = network()
    x, y = images(model)
    full = ead(L1(), steps=50, checks=0, warm=False)(model, x, y)
    quick = ead(L1(), steps=50)(model, x, y)
    assert (full.forwards == 451).all()
    assert quick.forwards.double().mean() < 0.9 * 451
    assert int(quick.broken.sum()) >= int(full.broken.sum())
    assert quick.needed.median() <= 1.01 * full.needed.median()


@pytest.mark.parametrize("library", ["foolbox", "torchattacks"])
def test_no_peer_finds_smaller_changes(subject, library):  # noqa: F811
    installed = peer(library)
    model, x, y = subject
    x, y = x[:40], y[:40]
    searches, steps = 5, 40
    with torch.random.fork_rng():
        if library == "foolbox":
            attack = installed.attacks.EADAttack(
                searches, steps, initial_stepsize=0.01, initial_const=1e-2, regularization=1e-3, decision_rule="L1"
            )
            theirs = attack(installed.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=None)[0]
        else:
            theirs = installed.EADL1(
                model, lr=0.01, binary_search_steps=searches, max_iterations=steps, initial_const=1e-2, beta=1e-3
            )(x, y)
    far = (theirs - x).flatten(1).abs().sum(1).masked_fill(model(theirs).argmax(1) == y, torch.inf)
    ours = ead(L1(), searches=searches, steps=steps, first=1e-2)(model, x, y)
    assert torch.isfinite(far).any()
    assert int(ours.broken.sum()) >= int(torch.isfinite(far).sum())
    assert ours.needed.median() <= 1.01 * far.median()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0.0}, "expected beta as a number > 0"),
        ({"searches": 0}, "expected searches as a whole number >= 1"),
        ({"steps": 1.5}, "expected steps as a whole number >= 1"),
        ({"confidence": -1.0}, "expected confidence as a number >= 0"),
    ],
)
def test_bad_settings_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        ead(L1(), **settings)
    with pytest.raises(InputError, match="expected L1 for ead"):
        ead(L2())
