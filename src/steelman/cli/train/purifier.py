"""`steelman train purifier`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli import options
from steelman.errors import InputError
from steelman.spec.words import settings as settings_of

if TYPE_CHECKING:
    from steelman.cli.train.given import Given
    from steelman.training import Recipe, Trained

HELP = "a purifier that goes in front of a classifier"
NAMED = "purifier"
EXAMPLES = (
    "steelman train purifier --data fashion-mnist --classifier fashion-mnist/cnn --out runs/unet.safetensors",
    "steelman train purifier --data mnist --purifier conv-autoencoder --attack fgsm --out runs/paper.safetensors",
)

PAPERS = "conv-autoencoder"
"""The paper's purifier, which its study trains."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    options.add_classifier(command, "that it goes in front of")
    command.add_argument(
        "--purifier",
        default="unet",
        help="unet, puvae, robust-autoencoder, …, a plug-in's, or one of your own as in my_purifier.py:name (unet)",
    )
    command.add_argument(
        "--attack", choices=["fgsm", "pgd"], default="fgsm", help="conv-autoencoder: what it undoes (fgsm)"
    )
    role = "a robust- or certified-autoencoder is to withstand"
    options.add_threat(command, role, " (0.3 for mnist, 0.1 for fashion-mnist)")
    command.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="other settings, of how it is built and fitted, as in steps=10 width=16",
    )
    command.add_argument("--start", type=Path, help="weights to go on from, as of an earlier training")
    command.add_argument(
        "--generator", help="defense-gan-encoder: the defense-gan whose generator it is for (the shipped one)"
    )


def recipe(name: str) -> str | Recipe:
    """Returns the recipe of a purifier."""
    from steelman.training import training_of

    return name if name == PAPERS else training_of(name, code=True).recipe


def train(
    given: Given, *, purifier: str, attack: str, set: list[str], start: Path | None, generator: str | None
) -> Trained:
    """Trains it."""
    from steelman.training import training_of

    if purifier == PAPERS:
        return _autoencoder(given, attack)
    one = training_of(purifier, code=True)
    settings = settings_of(set, f"setting of {purifier}", one.builds | one.fits)
    if generator is not None:
        settings["generator"] = generator
    offered: dict[str, Any] = {"name": purifier, **given.fit}
    if one.wants("classifier"):
        offered["classifier"] = given.classifier()
    if one.wants("threat"):
        offered["threat"] = given.ball(usual=True)
    return one.train(given.images, settings=settings, start=start, **offered)


def _autoencoder(given: Given, attack: str) -> Trained:
    from steelman import models
    from steelman.studies.protocols import AS_PUBLISHED
    from steelman.studies.published import DEFENDED
    from steelman.training import as_many_steps, conv_autoencoder

    if given.images.train is None:
        raise InputError(f"expected training images in {given.images.name}, got a test split alone")
    target, side = given.classifier(), given.images.test.shape[-1]
    published = target.inner if isinstance(target, models.Resized) else models.Resized(target, side)
    epochs = as_many_steps(len(given.images.train)) if given.epochs is None else given.epochs
    made, recipe = AS_PUBLISHED.attack(attack, DEFENDED[attack]), replace(given.recipe, epochs=epochs)
    return conv_autoencoder(published, given.images.train, made, recipe=recipe, **given.how)
