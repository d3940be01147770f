"""A small classifier, a purifier and images that detectors are tried on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from steelman.defences import UNetPurifier
from steelman.models import CNN


@pytest.fixture
def scene():
    """Two classes, dark and light; attacked images are noisy."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = CNN(1, 2, width=4).eval()
        purifier = UNetPurifier(1, width=4, code=8, depth=1).eval()
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(60) % 2
    x = (0.3 * torch.rand(60, 1, 12, 12, generator=generator) + 0.6 * y[:, None, None, None]).clamp(0, 1)
    noise = torch.rand(40, 1, 12, 12, generator=generator)
    attacked = torch.where(noise < 0.4, 1 - x[:40], x[:40])
    return SimpleNamespace(classifier=classifier, purifier=purifier, x=x, y=y, attacked=attacked)


class Half(nn.Module):
    """A purifier that halves."""

    def forward(self, x):
        return x / 2


@pytest.fixture
def half():
    return Half()
