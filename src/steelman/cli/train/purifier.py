"""`steelman train purifier`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Data
    from steelman.training import Recipe, Trained

HELP = "a purifier that goes in front of a classifier"
EXAMPLES = (
    "steelman train purifier --data fashion-mnist --classifier fashion-mnist/cnn --out runs/unet.safetensors",
    "steelman train purifier --data mnist --purifier conv-autoencoder --attack fgsm --out runs/paper.safetensors",
)


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    command.add_argument("--classifier", help="that it goes in front of, as in mnist/cnn")
    command.add_argument("--weights", type=Path, help="safetensors of that classifier, if none ship")
    command.add_argument("--purifier", default="unet", help=f"{', '.join(_TRAIN)} (unet)")
    command.add_argument(
        "--attack", choices=["fgsm", "pgd"], default="fgsm", help="conv-autoencoder: what it undoes (fgsm)"
    )


def named(options: argparse.Namespace) -> tuple[str, str]:
    """Returns what is trained, and the name of its recipe."""
    return options.purifier, options.purifier


def train(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    """Trains it."""
    from steelman.errors import unknown

    if options.purifier not in _TRAIN:
        raise unknown("purifier", options.purifier, _TRAIN)
    return _TRAIN[options.purifier](options, images, recipe, how)


def _unet(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import defences, training

    classifier = _target(options, images)
    with training.seeded(recipe.seed):
        purifier = defences.build(options.purifier, channels=images.test.shape[0])
    return training.purifier(purifier, classifier, images, name=options.purifier, recipe=recipe, **how)


def _autoencoder(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import models
    from steelman.studies.autoencoder import as_many_steps, train_autoencoder

    if images.train is None:
        raise InputError(f"expected training images in {images.name}, got a test split alone")
    target = _target(options, images)
    published = target.inner if isinstance(target, models.Resized) else models.Resized(target, images.test.shape[-1])
    if options.epochs is None:
        recipe = replace(recipe, epochs=as_many_steps(len(images.train)))
    return train_autoencoder(published, images.train, options.attack, recipe=recipe, **how)


def _target(options: argparse.Namespace, images: Data) -> nn.Module:
    from steelman.cli import bring

    named = argparse.Namespace(model=options.classifier, weights=options.weights, device="cpu")
    return bring.model(named, images.test)


_TRAIN = {"unet": _unet, "conv-autoencoder": _autoencoder}
"""How each purifier is trained."""
