"""What a step of a training costs, beside a step of training on labels alone."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from steelman.precision import precision
from steelman.training.fit import Objective, Splitting
from steelman.training.objectives.classify import Classify
from steelman.training.recipe import Recipe
from steelman.training.seeding import seeded


def cost(model: nn.Module, objective: Objective, batch: tuple[Tensor, ...], recipe: Recipe) -> float:
    """Returns how many times as many passes a step of an objective takes as one of training on labels.

    Forward and backward passes of the model count alike, image by image, in the objective's last step; adversarial
    weight perturbation, if the recipe has it, reads the attacked images twice. All is done to copies, and torch's
    generators are as before.
    batch: (x, y), on the model's device.
    """
    return _passes(model, objective, batch, recipe) / _passes(model, Classify(), batch, recipe)


def _passes(model: nn.Module, objective: Objective, batch: tuple[Tensor, ...], recipe: Recipe) -> int:
    """How many images go forwards and backwards through the model in one step."""
    count = 0

    def forwards(module: nn.Module, given: Any, out: Tensor) -> None:
        nonlocal count
        count += len(out)
        if out.requires_grad:
            out.register_hook(backwards)

    def backwards(grad: Tensor) -> None:
        nonlocal count
        count += len(grad)

    device = batch[0].device
    own, objective = copy.deepcopy(model).to(device).train(), copy.deepcopy(objective)
    own.register_forward_hook(forwards)
    with seeded(recipe.seed, device), torch.enable_grad():
        with precision(recipe.precision, device):
            if recipe.awp and recipe.awp_after < 1 and isinstance(objective, Splitting):
                made = objective.attacked(own, batch, 1.0)
                losses = [objective.reading(own, made, 1.0) for _ in range(2)]
            else:
                losses = [objective.loss(own, batch, 1.0)]
        for loss in losses:
            loss.backward()
    return count
