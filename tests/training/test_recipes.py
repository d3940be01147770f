"""Whole trainings: what they leave on record, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.norms import L2
from steelman.training import Recipe, named, robust

RECIPE = Recipe(epochs=1, batch_size=16, rate=0.01, precision="fp32")


def images(name: str) -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(48, 1, 8, 8, generator=generator), torch.arange(48) % 3, ("a", "b", "c"), name)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def test_a_robust_training_says_what_it_withstands_and_is_judged_by_the_papers_attack() -> None:
    data = Data("noise", images("noise train"), images("noise test"))
    made = robust(network(), data, name="mine", threat=L2(0.5), recipe=RECIPE, steps=3, size=0.2)
    assert made.settings["model"] == "mine"
    assert made.settings["trained_on"] == 48
    trained, val = made.settings["objective"].split("val=")
    assert "L2(eps=0.5)" in trained
    assert "L2(eps=0.5)" in val
    assert "steps=3" in trained
    assert "steps=40" in val
    assert "goal=Last()" in trained
    assert list(made.settings["validation"]) == ["pgd 0.5", "clean"]
    assert not made.model.training


def test_steps_that_are_none_are_an_error() -> None:
    data = Data("noise", images("noise train"), images("noise test"))
    with pytest.raises(InputError, match="expected steps as a whole number"):
        robust(network(), data, name="mine", threat=L2(0.5), recipe=RECIPE, steps=0)


def test_a_recipe_is_named_and_changed() -> None:
    assert named("robust", epochs=3, rate=None).epochs == 3
    assert named("robust", rate=None) == named("robust")
