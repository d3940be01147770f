"""What holds for every attack that no ball describes, or that other images or models have a part in."""

import pytest
import torch

from steelman.attacks import catalogue, pgd
from steelman.norms import L2, Linf
from steelman.testing import check_attack

from .conformance import CASCADES, INSIDE_A_BALL, OF_A_SET, Network, images

SHAPE = (1, 8, 9)


class InDouble(torch.nn.Module):
    """A surrogate for images of either precision."""

    def __init__(self):
        super().__init__()
        self.inner = Network(SHAPE, seed=0, scale=1.5)

    def forward(self, x):
        return self.inner(x.double())


SURROGATE = InDouble()
MADE = {
    "universal": lambda entry: entry(L2(0.4), passes=2),
    "sgd-uap": lambda entry: entry(Linf(0.05), epochs=3, batch=3),
    "transfer": lambda entry: entry(pgd(Linf(0.05), steps=3), SURROGATE),
    "patch": lambda entry: entry(area=0.1, steps=5, batch=4),
    "lavan": lambda entry: entry(area=0.1, steps=5, restarts=2),
    "spatial": lambda entry: entry(grid=(3, 3)),
    "corruptions": lambda entry: entry(severities=(1, 5)),
}
OUTSIDE = [name for name in catalogue if name not in (*INSIDE_A_BALL, *CASCADES)]
every = pytest.mark.parametrize("name", OUTSIDE)


def build(name):
    return MADE[name](catalogue[name])


@every
def test_it_is_an_attack(name):
    check_attack(build(name), shape=SHAPE, exact=True)


def subject(n=8):
    model = Network(SHAPE)
    return model, *images(model, n, SHAPE)


@every
def test_no_order_or_number_of_slots_changes_a_sample(name):
    model, x, y, _ = subject()
    whole = build(name)(model, x, y, seed=3)
    order = torch.tensor([5, 0, 7, 2, 6, 1, 4, 3])
    for slots in (1, 3, 100):
        assert torch.allclose(build(name)(model, x, y, seed=3, slots=slots).x, whole.x, atol=1e-9)
    for indices in [order] if name in (*OF_A_SET, "patch") else order.split([1, 3, 4]):
        part = build(name)(model, x[indices], y[indices], seed=3, indices=indices)
        assert torch.allclose(part.x, whole.x[indices], atol=1e-9)
        assert torch.equal(part.broken, whole.broken[indices])


@every
def test_its_repr_is_its_record(name):
    attack = build(name)
    assert name in repr(attack)
    assert repr(attack.threat) in repr(attack)
    assert " at 0x" not in repr(attack), repr(attack)
