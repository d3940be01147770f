"""Whole trainings with numbers that work: what `steelman train` runs and how the shipped weights were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steelman import weights
from steelman.attacks import Last, Worst, at_input, fgsm, pgd
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.norms import Ball, Linf
from steelman.threat import Threat
from steelman.training.checkpoint import Epoch
from steelman.training.fit import Observer, fit
from steelman.training.objectives import Adversarial, Classify, Purify
from steelman.training.recipe import Recipe

CNN = Recipe(epochs=20, rate=4e-3, weight_decay=0.05, average=0.998)
VGG = Recipe(epochs=15, optimiser="sgd", rate=0.05, weight_decay=5e-4, average=0.99)
PAPER_VGG = Recipe(
    epochs=10, batch_size=64, optimiser="sgd", rate=1e-3, momentum=0.0, schedule="constant", precision="auto"
)
UNET = Recipe(epochs=12, rate=2e-3, weight_decay=0.01, average=0.998, clip=1.0)

LENET = Recipe(epochs=15, rate=2e-3, weight_decay=0.01, average=0.998)
ROBUST = Recipe(epochs=15, rate=2e-3, average=0.998)

CONV_AUTOENCODER = Recipe(epochs=10, batch_size=64, optimiser="adam", rate=1e-3, schedule="constant")
"""Adam at 1e-3, batches of 64, ten epochs. Source: code of arXiv 2312.03520."""

RECIPES: Mapping[str, Recipe] = {
    "cnn": CNN,
    "lenet": LENET,
    "vgg16": VGG,
    "paper_vgg": PAPER_VGG,
    "robust": ROBUST,
    "unet": UNET,
    "conv-autoencoder": CONV_AUTOENCODER,
}

MIRRORED = frozenset({"fashion-mnist", "cifar-10"})
"""Data sets whose images mean the same in a mirror."""


@dataclass(frozen=True)
class Trained:
    """A training's outcome: the model at its best epoch, its history, and what it was made with."""

    model: nn.Module
    history: tuple[Epoch, ...]
    settings: Mapping[str, Any]

    def save(self, path: Path, checkpoint: Path | None = None) -> None:
        """Writes the weights with their settings as safetensors, and only then removes the training's checkpoint."""
        weights.write(getattr(self.model, "inner", self.model), path, self.settings)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)


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
    kept, held = _split(data, recipe.seed)
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
    kept, held = _split(data, recipe.seed)
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


def purifier(
    model: nn.Module,
    classifier: nn.Module,
    data: Data,
    *,
    name: str,
    recipe: Recipe = UNET,
    steps: int = 10,
    checkpoint: Path | None = None,
    device: str = "cpu",
    observe: Observer | None = None,
) -> Trained:
    """Returns a purifier that holds before one classifier against FGSM and PGD of every eps at once.

    classifier: attacked and read, never trained.  steps: of the PGD that it trains on; it is judged on 40 of .01.
    """
    kept, held = _split(data, recipe.seed)
    classifier = classifier.to(device).eval().requires_grad_(False)
    objective = Purify(
        classifier=classifier,
        attacks=(
            (fgsm(Linf(0.0)).with_goal(Last()), 1.2),
            (pgd(Linf(0.0), steps=steps, start=at_input).with_goal(Last()), 0.35),
        ),
        held=(
            fgsm(Linf(0.1)).with_goal(Worst()),
            fgsm(Linf(0.6)).with_goal(Worst()),
            pgd(Linf(0.05), size=0.01, start=at_input).with_goal(Worst()),
            pgd(Linf(0.15), size=0.01, start=at_input).with_goal(Worst()),
            pgd(Linf(0.3), size=0.01, start=at_input).with_goal(Worst()),
        ),
    )
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
    return Trained(model, history, made | {"defence": name, "classifier": weights.digest(classifier)})


def named(name: str, **changes: object) -> Recipe:
    """Returns the recipe of a model or purifier, with the changes that are not None."""
    recipe = RECIPES.get(name, CNN)
    return replace(recipe, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]


def _split(data: Data, seed: int) -> tuple[Images, Images]:
    if data.train is None:
        raise InputError(
            f"expected training images in {data.name}, got a test split alone: give a folder with train and test"
        )
    return data.train.split(1 / 12, seed)


def record(
    model: nn.Module, images: Images, recipe: Recipe, objective: str, history: tuple[Epoch, ...], trained_on: int
) -> dict[str, Any]:
    """Returns what stands beside trained weights: how the module is built and was trained, and its score."""
    best = max(history, key=lambda epoch: next(iter(epoch.scores.values())))
    return {
        "arguments": _plain(getattr(getattr(model, "inner", model), "settings", {})),
        "data": images.name.removesuffix(" test").removesuffix(" train"),
        "classes": list(images.classes),
        "shape": list(images.shape),
        "recipe": asdict(recipe),
        "objective": objective,
        "validation": dict(best.scores),
        "trained_on": trained_on,
        "torch": str(torch.__version__),
    }


def _plain(settings: object) -> object:
    """A user's module may call anything its settings; what is not JSON is left out."""
    try:
        return json.loads(json.dumps(settings))
    except (TypeError, ValueError):
        return {}
