"""`steelman train distilled`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli.train import classifier

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Data
    from steelman.training import Recipe, Trained

HELP = "a classifier by defensive distillation, which is known to be broken"
EXAMPLES = (
    "steelman train distilled --data mnist --model cnn --temperature 100 --epochs 5 --out runs/distilled.safetensors",
    "steelman train distilled --data mnist --model cnn --teacher mnist/cnn --out runs/student.safetensors",
)


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    classifier.add_network(command)
    command.add_argument(
        "--temperature", type=float, default=100.0, help="that the softmax is softened with in training (100)"
    )
    command.add_argument(
        "--teacher",
        help="shipped as in mnist/cnn, a safetensors file of the same model, or package.module:factory (one that is "
        "trained first at the same temperature, as the paper has it, and kept beside)",
    )


def named(options: argparse.Namespace) -> tuple[str, str]:
    """Returns what is trained, and the name of its recipe."""
    return options.model, options.model


def train(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    """Trains it, after its teacher if none is named."""
    from steelman import training
    from steelman.training.objectives import Distil

    Distil(temperature=options.temperature)
    settings = {"name": options.model, "temperature": options.temperature}
    student = classifier.network(options, images, replace(recipe, seed=(recipe.seed + 1) % 2**31))
    teacher = _named(options, images) if options.teacher else _trained(options, images, recipe, how, settings)
    return training.distilled(student, images, teacher=teacher, recipe=recipe, **settings, **how)


def _named(options: argparse.Namespace, images: Data) -> nn.Module:
    from steelman.cli import bring

    weights = Path(options.teacher) if options.teacher.endswith(".safetensors") else None
    model = options.teacher if weights is None else options.model
    return bring.model(argparse.Namespace(model=model, weights=weights, device="cpu"), images.test)


def _trained(
    options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any], settings: dict[str, Any]
) -> nn.Module:
    """The teacher, trained; from its file where the student has a checkpoint, which knows its own teacher."""
    from steelman import training, weights
    from steelman.cli.console import console, writable

    path = options.out.with_suffix(".teacher.safetensors")
    writable(path.parent)
    teacher = classifier.network(options, images, recipe)
    if path.is_file() and how["checkpoint"].is_file():
        weights.fill(getattr(teacher, "inner", teacher), path)
        return teacher
    console.print(f"first its teacher, at temperature {options.temperature:g}")
    own = how | {"checkpoint": path.with_suffix(".checkpoint")}
    made = training.distilled(teacher, images, teacher=None, recipe=recipe, **settings, **own)
    made.save(path, own["checkpoint"])
    console.print(f"wrote {path}; now its student")
    return teacher
