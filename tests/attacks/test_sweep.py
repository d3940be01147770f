"""Many radii at once: a curve that never rises, the named attack's own rows, and one run for the smallest change."""

from dataclasses import replace

import pytest
import torch

from steelman.attacks import Nearest, fgsm, pgd, sweep
from steelman.errors import InputError
from steelman.norms import Linf

from .conformance import Network, images

RADII = (0.08, 0.02, 0.04, 0.16)


def subject():
    model = Network()
    return model, *images(model, 40)[:2]


def test_what_is_broken_stays_broken_and_is_attacked_no_more():
    model, x, y = subject()
    attack = pgd(Linf(0.0), steps=10)
    model.forwards = 0
    found = sweep(attack, model, x, y, RADII, seed=2)
    assert list(found) == sorted(RADII)
    assert sum(int(result.forwards.sum()) for result in found.values()) == model.forwards
    before = torch.zeros(40, dtype=torch.bool)
    for eps, result in found.items():
        assert (result.broken | ~before).all()
        assert (result.distance <= eps + 1e-9).all()
        assert not result.forwards[before].any()
        before = result.broken
    rates = [float(result.broken.double().mean()) for result in found.values()]
    assert rates[-1] > rates[0] > 0
    assert sum(int(r.forwards.sum()) for r in sweep(attack, model, x, y, RADII, own=True).values()) > model.forwards / 2


def test_a_named_attacks_own_rows_are_its_own():
    model, x, y = subject()
    for eps, result in sweep(fgsm(Linf(0.0)), model, x, y, RADII, own=True).items():
        alone = fgsm(Linf(eps))(model, x, y)
        assert all(torch.equal(a, b) for a, b in zip(result, alone, strict=True))


def test_a_search_for_the_smallest_change_runs_once():
    model, x, y = subject()
    attack = replace(pgd(Linf(0.0), steps=10, size=0.004), goal=Nearest())
    found = sweep(attack, model, x, y, RADII, seed=2)
    whole = attack.at(max(RADII))(model, x, y, seed=2)
    assert sum(int(result.forwards.sum()) for result in found.values()) == int(whole.forwards.sum())
    for eps, result in found.items():
        assert torch.equal(result.broken, whole.broken & (whole.distance <= eps + 1e-6))
        assert torch.equal(result.x[~result.broken], x[~result.broken])


def test_no_radius_is_an_error():
    model, x, y = subject()
    with pytest.raises(InputError, match="at least one eps"):
        sweep(fgsm(Linf(0.1)), model, x, y, ())
