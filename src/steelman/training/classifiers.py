"""Whole trainings of classifiers: what `steelman train classifier` and `train robust` run."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from steelman.attacks import Last, pgd
from steelman.data import Data
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.fit import Observer, fit
from steelman.training.objectives import Adversarial, Classify
from steelman.training.recipe import Recipe
from steelman.training.recipes import MIRRORED, ROBUST
from steelman.training.trained import Trained, record, split


def classifier(
    model: nn.Module,
    data: Data,
    *,
    name: str,
    recipe: Recipe,
    augment: bool = True,
    checkpoint: Path | None = None,
    device: str = "cpu",
    observe: Observer | None = None,
) -> Trained:
    """Returns a classifier trained on the labels of a data set, 1/12 of whose training images only validate.

    name: of the model in the catalogue, for the record.  augment: shifts of two pixels, label smoothing, and mirrored
    images where the data set is known to mean the same in a mirror.
    """
    kept, held = split(data, recipe.seed)
    objective = Classify(smoothing=0.1, shift=2, flip=data.name in MIRRORED) if augment else Classify()
    history = fit(model, objective, kept, held, recipe, checkpoint=checkpoint, device=device, observe=observe)
    return Trained(
        model,
        history,
        record(model, data.test, recipe, repr(objective), history, len(kept) + len(held)) | {"model": name},
    )


def robust(
    model: nn.Module,
    data: Data,
    *,
    name: str,
    threat: Threat | Ball,
    recipe: Recipe = ROBUST,
    steps: int = 40,
    size: float | None = None,
    checkpoint: Path | None = None,
    device: str = "cpu",
    observe: Observer | None = None,
) -> Trained:
    """Returns a classifier trained on what PGD makes of every batch, 1/12 of whose training images only validate.

    name: of the model in the catalogue, for the record.  threat: what it is trained to withstand.
    steps, size: of the PGD that it trains on, the paper's unless told; it is judged by the paper's 40 in any case.
    Raises InputError for steps or a size that is none.
    Source: Madry et al. 2018, section 5; that eps rises to its value over the first 30 %, the optimiser, the rates and
    the averaging are ours.
    """
    attack = pgd(threat, steps=steps, size=size).with_goal(Last())
    objective = Adversarial(attack=attack, held=pgd(threat), ramp=0.3)
    kept, held = split(data, recipe.seed)
    history = fit(
        model,
        objective,
        kept,
        held.sample(min(len(held), 1000), recipe.seed),
        recipe,
        checkpoint=checkpoint,
        device=device,
        observe=observe,
    )
    made = record(model, data.test, recipe, repr(objective), history, len(kept) + len(held))
    return Trained(model, history, made | {"model": name})
