"""A small classifier, a purifier and images that detectors are tried on."""

from __future__ import annotations

import pytest
from torch import nn

from steelman.testing import scene


@pytest.fixture(name="scene")
def _scene():
    return scene()


class Half(nn.Module):
    """A purifier that halves."""

    def forward(self, x):
        return x / 2


@pytest.fixture
def half():
    return Half()
