"""What every attack of the catalogue is tried on: small models, settings that are quick, and the cases there are."""

import inspect
from itertools import product

import torch
from torch import nn

from steelman.attacks import catalogue
from steelman.errors import InputError
from steelman.norms import L1, L2, Linf
from steelman.threat import Threat

BALLS = {"Linf": Linf(0.12), "L2": L2(0.35), "L1": L1(0.8, share=0.2)}
QUICK = {"steps": 5}
SHAPES = [(12,), (3, 4), (1, 4, 3)]


def build(name, norm, *, targeted=False, eps=None, box=None, **settings):
    """An attack by name, quick where its recipe counts steps; settings that its recipe does not know are left out."""
    ball = BALLS[norm] if eps is None else BALLS[norm].at(eps)
    known = inspect.signature(catalogue[name]).parameters
    given = {key: value for key, value in (QUICK | settings).items() if key in known}
    return catalogue[name](Threat(ball, **(box or {})), targeted=targeted, **given)


def offered(name, norm, targeted):
    try:
        build(name, norm, targeted=targeted)
    except InputError:
        return False
    return True


CASES = [case for case in product(catalogue, BALLS, (False, True)) if offered(*case)]


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
