"""`steelman train purifier`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli import bring
from steelman.cli.bring import NORMS
from steelman.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Data
    from steelman.norms import Ball
    from steelman.training import Recipe, Trained

HELP = "a purifier that goes in front of a classifier"
EXAMPLES = (
    "steelman train purifier --data fashion-mnist --classifier fashion-mnist/cnn --out runs/unet.safetensors",
    "steelman train purifier --data mnist --purifier conv-autoencoder --attack fgsm --out runs/paper.safetensors",
)

PAPERS = "conv-autoencoder"
"""The paper's purifier, which its study trains."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    command.add_argument("--classifier", help="that it goes in front of, as in mnist/cnn")
    command.add_argument("--weights", type=Path, help="safetensors of that classifier, if none ship")
    command.add_argument(
        "--purifier",
        default="unet",
        help="unet, puvae, robust-autoencoder, …, a plug-in's, or one of your own as in my_purifier.py:name (unet)",
    )
    command.add_argument(
        "--attack", choices=["fgsm", "pgd"], default="fgsm", help="conv-autoencoder: what it undoes (fgsm)"
    )
    command.add_argument(
        "--norm", choices=NORMS, default="Linf", help="robust- and certified-autoencoder: what to withstand (Linf)"
    )
    command.add_argument(
        "--eps", type=float, help="their radius, in units of [0, 1] images (0.3 for mnist, 0.1 for fashion-mnist)"
    )
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


def named(options: argparse.Namespace) -> tuple[str, str | Recipe]:
    """Returns what is trained, and its recipe."""
    from steelman.training import training_of

    name = options.purifier
    return name, name if name == PAPERS else training_of(name, code=True).recipe


def train(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    """Trains it."""
    from steelman.training import training_of

    if options.purifier == PAPERS:
        return _autoencoder(options, images, recipe, how)
    name, one = options.purifier, training_of(options.purifier, code=True)
    settings = bring.settings(options.set, f"setting of {name}", one.builds | one.fits)
    if options.generator is not None:
        settings["generator"] = options.generator
    given: dict[str, Any] = {"name": name, **how}
    if one.wants("classifier"):
        given["classifier"] = _target(options, images)
    if one.wants("threat"):
        given["threat"] = _threat(options, images)
    return one.train(images, recipe=recipe, settings=settings, start=options.start, **given)


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


def _threat(options: argparse.Namespace, images: Data) -> Ball:
    from steelman import norms

    eps = (
        options.eps if options.eps is not None else norms.Linf.usual.get(images.id) if options.norm == "Linf" else None
    )
    if eps is None:
        raise InputError(f"expected --eps, the {options.norm} radius to withstand on {images.name}: say --eps 0.1")
    return getattr(norms, options.norm)(eps)  # type: ignore[no-any-return]


def _target(options: argparse.Namespace, images: Data) -> nn.Module:
    named = argparse.Namespace(model=options.classifier, weights=options.weights, device="cpu")
    return bring.model(named, images.test)
