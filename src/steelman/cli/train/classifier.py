"""`steelman train classifier`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.errors import InputError
from steelman.spec.words import assigned, value

if TYPE_CHECKING:
    from torch import nn

    from steelman.cli.train.given import Given
    from steelman.training import Trained

HELP = "a classifier on labels"
NAMED = "model"
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


def recipe(name: str) -> str:
    """Returns the recipe of what is trained, which bears its name."""
    return name


def train(given: Given, *, noise: float, **network: Any) -> Trained:
    """Trains it."""
    from steelman import training

    name = network["model"]
    how = {"name": name, "augment": name != "paper_vgg", "noise": noise, **given.fit}
    return training.classifier(made(given, **network), given.images, **how)


def made(
    given: Given, *, model: str, model_set: list[str], transfer: Path | None, fine_tune: bool, seed: int | None = None
) -> nn.Module:
    """Returns the classifier to train, as its options say, made from the recipe's seed or another."""
    from steelman import models, training

    images = given.images.test
    channels, classes = images.shape[0], images.num_classes
    if transfer is not None and model != "vgg16":
        raise InputError(f"expected --model vgg16 with --transfer, got {model}")
    if transfer is not None and model_set:
        raise InputError("expected no --model-set with --transfer, which decides how the model is built")
    # models are built of numbers and words alone, so that "none" stays the word
    words = assigned(model_set, "--model-set")
    settings = {name: "none" if value(text) is None else value(text) for name, text in words.items()}
    with training.seeded(given.recipe.seed if seed is None else seed):
        if transfer is not None:
            built: nn.Module = models.transfer(transfer, channels, classes, frozen=not fine_tune)
        else:
            kind = models.catalogue.resolve(model, code=True)
            built = models.build(kind, channels=channels, classes=classes, **settings)
    return models.fitted(built, images.shape)
