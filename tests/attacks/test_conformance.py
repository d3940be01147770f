"""What holds for every attack of the catalogue, with every norm it offers, targeted and untargeted."""

import inspect
import math

import pytest
import torch

from steelman.attacks import Asks, Finds, catalogue
from steelman.errors import InputError
from steelman.losses import margin
from steelman.testing import check_attack

from .conformance import BALLS, CASES, INSIDE_A_BALL, Network, build, images

every = pytest.mark.parametrize(("name", "norm", "targeted"), CASES)
DUAL = {"Linf": 1, "L2": 2, "L1": torch.inf, "L0": torch.inf}


def reached(model, x, y, targeted):
    return (-1 if targeted else 1) * margin(model.eval()(x).detach(), y)


@every
def test_it_is_an_attack(name, norm, targeted):
    attack = build(name, norm, targeted=targeted, restarts=2)
    check_attack(attack, shape=(12,) if targeted else (1, 4, 3), exact=True)


@pytest.mark.parametrize("name", INSIDE_A_BALL)
def test_what_the_catalogue_does_not_list_is_an_error(name):
    entry = catalogue[name]
    assert entry.norms
    assert set(entry.norms) <= set(BALLS)
    for norm in set(BALLS) - set(entry.norms):
        with pytest.raises(InputError, match=f"expected .* for {name}"):
            build(name, norm)
    assert entry.targeted == ("targeted" in inspect.signature(entry.recipe).parameters)
    if entry.finds is Finds.WITHIN:
        with pytest.raises(InputError, match=f"expected a radius for {name}"):
            build(name, entry.norms[0], eps=math.inf)


@every
def test_each_sample_may_have_its_own_radius(name, norm, targeted):
    model = Network()
    x, y, natural = images(model, targeted=targeted)
    eps = BALLS[norm].eps * torch.tensor([1.0, 0, 1, 2, 3, 0.5, 1, 0])
    attack = build(name, norm, targeted=targeted)
    result = attack.at(eps)(model, x, y, seed=3, slots=3)
    assert (result.distance <= eps + 1e-6).all()
    assert torch.equal(result.x[[1, 7]], x[[1, 7]])
    if catalogue[name].finds is Finds.WITHIN:
        assert (result.distance > BALLS[norm].eps * 1.01)[4] or result.broken[4]
    if name != "bim":  # whose size is one for all
        for i in range(8):
            own = attack.at(float(eps[i]))(model, x[i : i + 1], y[i : i + 1], seed=3, indices=torch.tensor([i]))
            assert torch.allclose(own.x[0], result.x[i], atol=1e-6)
    with pytest.raises(InputError, match="one for each of 8 samples, got 3"):
        attack.at(eps[:3])(model, x, y)
    assert torch.equal(result.natural, natural)


@every
def test_logits_a_thousand_times_as_large_are_attacked_too(name, norm, targeted):
    large = Network(scale=1000.0, dtype=torch.float32)
    x, y, natural = images(large, dtype=torch.float32, targeted=targeted)
    attack = build(name, norm, targeted=targeted, eps=3 * BALLS[norm].eps)
    result = attack(large, x, y)
    assert attack.threat.holds(result.x, around=x).all()
    assert torch.allclose(result.margin, reached(large, result.x, y, targeted), rtol=1e-3, atol=1e-2)
    gained = (result.margin - reached(large, x, y, targeted))[~natural]
    assert (gained >= 0).all()
    assert gained.median() > 50


@every
def test_the_last_candidate_is_seen(name, norm, targeted):
    """One step breaks a linear model with room to spare; an attack that forgot to look would return the input.

    Two of the four classes are far below, there for the losses that need as many.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Linear(12, 4).double()
        model.bias.data[2:] = -1e3
    x = torch.rand(8, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = model(x).argmax(1)
    gap = -margin(model(x), y).detach()
    weight = (model.weight[0] - model.weight[1]).detach()
    # a sparse step gains less than the steepest, and a Frank-Wolfe move goes half the way, from anywhere in the ball
    room = 12 if name in ("gama-fw", "boundary") else 6 if norm == "L1" else 3
    eps = room * gap / weight.norm(p=DUAL[norm])
    eps = torch.full_like(gap, 12.0) if norm == "L0" else eps  # a number of entries, here all
    # attacks that see decisions alone start at noise, which must not be classified as the classes that are far below
    edge = 10.0 if catalogue[name].asks is Asks.DECISIONS else 1e3
    wide = {"low": -edge, "high": edge}
    attack = build(name, norm, targeted=targeted, eps=eps, box=wide, steps=1, size=float(eps.max()), alpha_init=100.0)
    result = attack(model, x, 1 - y if targeted else y)
    assert not result.natural.any()
    assert result.broken.all()


@every
def test_more_attempts_are_never_worse(name, norm, targeted):
    if "restarts" not in inspect.signature(catalogue[name].recipe).parameters:
        pytest.skip("it has no restarts")
    model = Network()
    x, y, _ = images(model, targeted=targeted)
    once = build(name, norm, targeted=targeted, restarts=1, eps=BALLS[norm].eps / 2)(model, x, y)
    more = build(name, norm, targeted=targeted, restarts=3, eps=BALLS[norm].eps / 2)(model, x, y)
    assert (more.margin >= once.margin - 1e-9).all()


@every
def test_its_repr_is_its_record(name, norm, targeted):
    attack = build(name, norm, targeted=targeted)
    assert f"name='{name}'" in repr(attack)
    assert repr(attack.threat) in repr(attack)
    assert f"targeted={targeted}" in repr(attack)
    assert " at 0x" not in repr(attack), repr(attack)
