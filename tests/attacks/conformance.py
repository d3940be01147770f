"""What every attack of the catalogue is tried on: small models, settings that are quick, and the cases there are."""

import inspect
import math

import torch
from torch import nn

from steelman.attacks import Finds, catalogue
from steelman.norms import L0, L1, L2, Linf
from steelman.threat import Threat

BALLS = {"Linf": Linf(0.12), "L2": L2(0.35), "L1": L1(0.8, share=0.2), "L0": L0(3)}
QUICK = {"steps": 5, "queries": 60}
"""Of every recipe that knows them."""

OWN = {
    "jsma": {"gamma": 1.0},
    "nes": {"samples": 80, "steps": 8},
    "one-pixel": {"population": 20},
    "spsa": {"samples": 20, "steps": 15, "size": 0.05},
    "boundary": {"queries": 150},
    "geoda": {"queries": 200},
    "hopskipjump": {"queries": 200},
}
"""Quick settings of one attack, by its name."""

SHAPES = [(12,), (3, 4), (1, 4, 3)]

OF_A_SET = ("universal", "sgd-uap")
"""Attacks whose result for an image depends on the others of the call, by definition."""

CASCADES = ("autoattack", "standard")
"""Made of other attacks, all of which are tried; test_cascade.py and test_standard.py try these."""

INSIDE_A_BALL = [
    name
    for name, entry in catalogue.items()
    if entry.finds is not Finds.OUTSIDE and not entry.surrogate and name not in OF_A_SET + CASCADES
]
"""What is tried here; test_outside.py tries the others."""


def build(name, norm, *, targeted=None, eps=None, box=None, **settings):
    """An attack by name, quick where its recipe counts steps; settings that its recipe does not know are left out.

    One that looks for the smallest change gets a ball of any size, unless an eps is given.
    """
    entry, ball = catalogue[name], BALLS[norm]
    if eps is not None or entry.finds is Finds.NEAREST:
        ball = ball.at(math.inf if eps is None else eps)
    known = inspect.signature(entry.recipe).parameters
    given = {key: value for key, value in (QUICK | OWN.get(name, {}) | settings).items() if key in known}
    aim = {} if targeted is None or "targeted" not in known else {"targeted": targeted}
    return entry(Threat(ball, **(box or {})), **aim, **given)


CASES = [
    (name, norm, targeted)
    for name in INSIDE_A_BALL
    for norm in catalogue[name].norms
    for targeted in ((False, True) if catalogue[name].targeted else (False,))
]


class Network(nn.Module):
    """A small smooth classifier of anything; it counts the samples that go forwards and those that come back."""

    def __init__(self, shape=(1, 4, 3), classes=4, dtype=torch.float64, scale=1.0, seed=0):
        super().__init__()
        features = int(torch.tensor(shape).prod())
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Flatten(), nn.Linear(features, 16), nn.Softplus(), nn.Linear(16, classes), nn.Dropout(0.5)
            )
        self.layers[3].weight.data *= 4
        self.to(dtype)
        self.scale = scale
        self.forwards = self.backwards = 0

    def forward(self, x):
        self.forwards += len(x)
        if x.requires_grad:
            x = x * 1
            x.register_hook(self._back)
        return self.scale * self.layers(x - 0.5)

    def _back(self, grad):
        self.backwards += len(grad)


def images(model, n=8, shape=(1, 4, 3), dtype=torch.float64, *, targeted=False):
    """Images with labels such that the first and the fourth are broken as they stand, and the others are not."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, *shape, generator=generator, dtype=torch.float64).to(dtype)
    ranked = model.eval()(x).detach().argsort(1, descending=True)
    y, other = ranked[:, 0], ranked[:, 1]
    if targeted:
        y, other = other, y
    natural = torch.arange(n) % 3 == 0
    natural[6:] = False
    return x, torch.where(natural, other, y), natural
