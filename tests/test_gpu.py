"""The same on a GPU: skipped without one, run with `pytest -m gpu`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from steelman import attacks
from steelman.data import Images
from steelman.norms import L1, L2, Linf
from steelman.training import Classify, Recipe, fit

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def images(n: int = 64) -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 4, tuple("abcd"), "noise")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).double()


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5), L1(3.0)], ids=repr)
def test_attacks_find_the_same_as_on_a_cpu(ball: attacks.Attack) -> None:
    x, y = images().x.double(), images().y
    attack = attacks.pgd(ball, steps=10, restarts=2)
    here = attack(network(), x, y, seed=1)
    there = attack(network().cuda(), x.cuda(), y.cuda(), seed=1)
    assert there.x.is_cuda
    assert torch.equal(here.broken, there.broken.cpu())
    assert torch.allclose(here.x, there.x.cpu(), atol=1e-6)


def test_fitting_runs_in_bf16_and_twice_the_same() -> None:
    recipe = Recipe(epochs=2, batch_size=16, precision="bf16")
    found = []
    for _ in range(2):
        model = network().float()
        fit(model, Classify(), images(), images(), recipe, device="cuda")
        found.append([tensor.cpu() for tensor in model.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
