"""`steelman train classifier`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli.bring import parsed
from steelman.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Data
    from steelman.training import Recipe, Trained

HELP = "a classifier on labels"
EXAMPLES = (
    "steelman train classifier --data mnist --model cnn --out runs/cnn.safetensors",
    "steelman train classifier --data mnist --noise 0.25 --epochs 10 --out runs/cnn-noise.safetensors",
    "steelman train classifier --data my/images --model package.module:factory --out runs/mine.safetensors",
)


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    add_network(command)
    command.add_argument(
        "--noise", type=float, default=0.0, help="learn from images with Gaussian noise of this deviation (0)"
    )


def add_network(command: argparse.ArgumentParser) -> None:
    """Adds the options that name a classifier to train."""
    command.add_argument(
        "--model",
        default="cnn",
        help="cnn, lenet, resnet18, vgg16, paper_vgg, ramp-cnn, ramp-resnet or package.module:factory (cnn)",
    )
    command.add_argument(
        "--model-set", nargs="+", default=[], metavar="NAME=VALUE", help="how it is built, as in width=16 denoise=mean"
    )
    command.add_argument("--transfer", type=Path, help="vgg16: a torchvision VGG-16 checkpoint to start from")
    command.add_argument("--fine-tune", action="store_true", help="with --transfer: train the features too")


def named(options: argparse.Namespace) -> tuple[str, str]:
    """Returns what is trained, and the name of its recipe."""
    return options.model, options.model


def train(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    """Trains it."""
    from steelman import training

    model = network(options, images, recipe)
    augment = options.model != "paper_vgg"
    return training.classifier(
        model, images, name=options.model, recipe=recipe, augment=augment, noise=options.noise, **how
    )


def network(options: argparse.Namespace, images: Data, recipe: Recipe) -> nn.Module:
    """Returns the classifier to train, made from the recipe's seed."""
    from steelman import models, training

    channels, classes = images.test.shape[0], images.test.num_classes
    if options.transfer is not None and options.model != "vgg16":
        raise InputError(f"expected --model vgg16 with --transfer, got {options.model}")
    with training.seeded(recipe.seed):
        settings = _settings(options.model_set)
        if options.transfer is not None and settings:
            raise InputError("expected no --model-set with --transfer, which decides how the model is built")
        if options.transfer is not None:
            model: nn.Module = models.transfer(options.transfer, channels, classes, frozen=not options.fine_tune)
        else:
            kind = models.catalogue.resolve(options.model, code=True)
            model = models.build(kind, channels=channels, classes=classes, **settings)
    return models.fitted(model, images.test.shape)


def _settings(words: list[str]) -> dict[str, Any]:
    """NAME=VALUE as settings; "none" stays the word, as models are built of numbers and words alone."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"expected --model-set as NAME=VALUE, got {word!r}")
        found[name] = "none" if text.lower() == "none" else parsed(text)
    return found
