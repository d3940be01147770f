"""What a training leaves: the model, its history, and the record that stands beside its weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steelman import weights
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.progress import OnProgress
from steelman.training.checkpoint import Epoch
from steelman.training.fit import Objective, fit
from steelman.training.recipe import Recipe


@dataclass(frozen=True)
class Trained:
    """A training's outcome: the model at its best epoch, its history, and what it was made with."""

    model: nn.Module
    history: tuple[Epoch, ...]
    settings: Mapping[str, Any]

    def save(self, path: Path, checkpoint: Path | None = None, *, half: bool = False) -> None:
        """Writes the weights with their settings as safetensors, and only then removes the training's checkpoint.

        half: in 16 bits, as `weights.write` has it.
        """
        weights.write(getattr(self.model, "inner", self.model), path, self.settings, half=half)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)


def fitted(
    model: nn.Module,
    objective: Objective,
    data: Data,
    recipe: Recipe,
    metadata: Mapping[str, Any],
    *,
    judged: int | None = None,
    learner: nn.Module | None = None,
    checkpoint: Path | None,
    device: str,
    progress: OnProgress | None,
) -> Trained:
    """Returns a model fitted to a data set, 1/12 of whose training images only validate, with its record.

    metadata: what the record says besides.  judged: of those images, how many validate, seeded; all unless told.
    learner: what is fitted, where that is not the model that is kept.
    checkpoint: the best weights so far stand beside it from the first epoch on, as safetensors that can be used.
    Raises InputError if the data set has none to train on.
    """
    kept, val = data.split(recipe.seed)
    validation = val if judged is None else val.sample(min(len(val), judged), recipe.seed)

    def trained(history: tuple[Epoch, ...]) -> Trained:
        made = record(model, data.test, recipe, repr(objective), history, len(kept) + len(val))
        return Trained(model, history, made | dict(metadata))

    def better(history: tuple[Epoch, ...]) -> None:
        if checkpoint is not None:
            trained(history).save(checkpoint.with_suffix(".safetensors"))

    history = fit(
        model if learner is None else learner,
        objective,
        kept,
        validation,
        recipe,
        checkpoint=checkpoint,
        device=device,
        progress=progress,
        better=better,
    )
    return trained(history)


def train_or_load(path: Path, train: Callable[[Path], Trained], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the settings of the weights in a file, trained into it first where they are not there yet.

    train: is called with the checkpoint beside it, from which one that was killed goes on.
    wanted: what the settings must say.
    Raises InputError for weights made in another way.
    """
    checkpoint = path.with_suffix(".checkpoint")
    if checkpoint.is_file() or not path.is_file():  # while it trains, the best weights so far stand there
        train(checkpoint).save(path, checkpoint)
    _, settings = weights.read(path)
    other = sorted(name for name, value in wanted.items() if settings.get(name) != value)
    if other:
        raise InputError(
            f"expected {path} to be trained as this run says, but its {' and '.join(other)} differ: "
            "give the options it was made with, or another --out"
        )
    return settings


def record(
    model: nn.Module, images: Images, recipe: Recipe, objective: str, history: tuple[Epoch, ...], trained_on: int
) -> dict[str, Any]:
    """Returns what stands beside trained weights: how the module is built and was trained, and its score."""
    best = max(history, key=lambda epoch: next(iter(epoch.scores.values())))
    return {
        "arguments": _plain(getattr(getattr(model, "inner", model), "settings", {})),
        "data": images.dataset,
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
