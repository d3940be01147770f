"""`steelman train distilled`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli.train import classifier

if TYPE_CHECKING:
    from torch import nn

    from steelman.cli.train.given import Given
    from steelman.training import Trained

HELP = "a classifier by defensive distillation, which is known to be broken"
NAMED = "model"
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


def recipe(name: str) -> str:
    """Returns the recipe of what is trained, which bears its name."""
    return name


def train(given: Given, *, temperature: float, teacher: str | None, **network: Any) -> Trained:
    """Trains it, after its teacher if none is named."""
    from steelman import training
    from steelman.training.objectives import Distil

    Distil(temperature=temperature)
    settings = {"name": network["model"], "temperature": temperature, "recipe": given.recipe}
    student = classifier.made(given, **network, seed=(given.recipe.seed + 1) % 2**31)
    known = _trained(given, network, settings) if teacher is None else _named(given, network["model"], teacher)
    return training.distilled(student, given.images, teacher=known, **settings, **given.how)


def _named(given: Given, model: str, teacher: str) -> nn.Module:
    from steelman.pipeline import build
    from steelman.spec import PipelineSpec

    weights = Path(teacher) if teacher.endswith(".safetensors") else None
    spec = PipelineSpec(model=teacher if weights is None else model, weights=weights)
    return build(spec, given.images).classifier


def _trained(given: Given, network: dict[str, Any], settings: dict[str, Any]) -> nn.Module:
    """The teacher, trained; from its file where the student has a checkpoint, which knows its own teacher."""
    from steelman import training, weights
    from steelman.cli.console import console
    from steelman.files import writable

    path = given.out.with_suffix(".teacher.safetensors")
    writable(path.parent)
    teacher = classifier.made(given, **network)
    if path.is_file() and given.how["checkpoint"].is_file():
        weights.fill(getattr(teacher, "inner", teacher), path)
        return teacher
    console.print(f"first its teacher, at temperature {settings['temperature']:g}")
    own = given.how | {"checkpoint": path.with_suffix(".checkpoint")}
    made = training.distilled(teacher, given.images, teacher=None, **settings, **own)
    made.save(path, own["checkpoint"])
    console.print(f"wrote {path}; now its student")
    return teacher
