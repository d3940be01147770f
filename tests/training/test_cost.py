"""What a step costs beside one of training on labels."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from steelman.norms import Linf
from steelman.training import Classify, Recipe, cost
from steelman.training.objectives import objective

EPS = 0.1
PLAIN = Recipe(epochs=1, precision="fp32")
PASSES = {"madry": 4, "mixed": 1, "logit-pairing": 4, "trades": 4, "mart": 4, "guided": 1}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3))


def made(name: str, **settings: object):
    steps = {"steps": PASSES[name]} if PASSES[name] > 1 and "pairing" not in settings else {}
    return objective(name, Linf(EPS), **steps, **settings)


@pytest.mark.parametrize("name", PASSES)
def test_the_cost_is_that_of_the_passes_and_leaves_everything_as_it_was(name: str) -> None:
    model = network().eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = cost(model, made(name, ramp=0.3), batch(), PLAIN)
    steps = PASSES[name]
    looks = 1 if name == "mixed" else 2  # at the end, and at the clean image unless the attack starts from it
    learns = 1 if name == "madry" else 2
    assert found == (2 * steps + looks + 2 * learns) / 2
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_labels_and_clean_pairs_cost_what_plain_training_does() -> None:
    assert cost(network(), Classify(), batch(), PLAIN) == 1
    assert cost(network(), made("logit-pairing", pairing="clean"), batch(), PLAIN) == 1


def test_the_cost_of_adversarial_weight_perturbation_is_one_more_reading() -> None:
    perturbed = Recipe(epochs=1, precision="fp32", awp=0.01)
    once = cost(network(), made("trades"), batch(), PLAIN)
    assert cost(network(), made("trades"), batch(), perturbed) == once + 2
    assert cost(network(), Classify(), batch(), perturbed) == 1
