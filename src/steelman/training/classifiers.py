"""Whole trainings of classifiers: what `steelman train classifier` and `train robust` run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from steelman.data import Data
from steelman.norms import Ball
from steelman.progress import OnProgress
from steelman.registry import takes
from steelman.threat import Threat
from steelman.training.cost import cost
from steelman.training.fit import Objective, warned
from steelman.training.objectives import Classify, catalogue
from steelman.training.objectives import objective as made
from steelman.training.recipe import Recipe
from steelman.training.recipes import MIRRORED, ROBUST
from steelman.training.trained import Trained, fitted


def classifier(
    model: nn.Module,
    data: Data,
    *,
    name: str,
    recipe: Recipe,
    augment: bool = True,
    noise: float = 0.0,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns a classifier trained on the labels of a data set, 1/12 of whose training images only validate.

    name: of the model in the catalogue, for the record.  augment: shifts of two pixels, label smoothing, and mirrored
    images where the data set is known to mean the same in a mirror.  noise: standard deviation of the Gaussian noise on
    what it learns from and is judged on, as a classifier that is to be smoothed wants it.
    """
    objective = Classify(noise=noise)
    if augment:
        objective = replace(objective, smoothing=0.1, shift=2, flip=data.id in MIRRORED)
    return fitted(
        model, objective, data, recipe, {"model": name}, checkpoint=checkpoint, device=device, progress=progress
    )


def robust(
    model: nn.Module,
    data: Data,
    *,
    name: str,
    threat: Threat | Ball,
    recipe: Recipe = ROBUST,
    objective: str | Callable[..., Objective] = "madry",
    ramp: float = 0.3,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
    **settings: object,
) -> Trained:
    """Returns a classifier trained to withstand a threat, 1/12 of whose training images only validate.

    name: of the model in the catalogue, for the record.  threat: what it is trained to withstand.
    objective: of the catalogue of objectives, or what could stand there; `settings` are its own, those of its paper
    unless told, and what is None is not told. It is judged by PGD of 40 steps in any case.
    ramp: the share of the training over which eps rises to its value, for an objective that has it. The record says, as
    `cost`, how many times as many passes of the model a step takes as one of training on labels.
    Raises InputError for an objective or settings that are none.
    Source: Madry et al. 2018, section 5, and the objectives' papers; that eps rises over the first 30 %, the optimiser,
    the rates and the averaging are ours.
    """
    own = {"ramp": ramp} if "ramp" in takes(catalogue.named(objective)[1]) else {}
    aim = made(objective, threat, **own, **settings)
    kept, _ = data.split(recipe.seed)
    batch = tuple(part.to(device) for part in kept.batch(torch.arange(min(len(kept), recipe.batch_size))))
    metadata = {"model": name, "cost": round(cost(model, aim, batch, recipe), 2)}
    trained = fitted(
        model, aim, data, recipe, metadata, judged=1000, checkpoint=checkpoint, device=device, progress=progress
    )
    found = warned(aim, trained.history)
    return replace(trained, settings={**trained.settings, "warnings": list(found)}) if found else trained
