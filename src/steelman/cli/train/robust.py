"""`steelman train robust`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from steelman.cli.bring import NORMS
from steelman.cli.train import classifier
from steelman.errors import InputError

if TYPE_CHECKING:
    from steelman.data import Data
    from steelman.training import Recipe, Trained

HELP = "a classifier that is to withstand attacks"
EXAMPLES = ("steelman train robust --data mnist --model lenet --norm Linf --eps 0.3 --out runs/robust.safetensors",)


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    classifier.add_network(command)
    command.add_argument("--norm", choices=NORMS, default="Linf", help="of what it is to withstand (Linf)")
    command.add_argument("--eps", type=float, help="the radius, in units of [0, 1] images")
    command.add_argument("--steps", type=int, help="of the PGD that it trains on (40)")
    command.add_argument("--size", type=float, help="of one of them (4/3 eps / steps)")


def named(options: argparse.Namespace) -> tuple[str, str]:
    """Returns what is trained, and the name of its recipe."""
    return options.model, "robust"


def train(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    """Trains it."""
    from steelman import norms, training

    if options.eps is None:
        raise InputError("expected --eps, the radius to withstand, got none: say --eps 0.3, as is usual for MNIST")
    threat = getattr(norms, options.norm)(options.eps)
    pgd = {key: value for key in ("steps", "size") if (value := getattr(options, key)) is not None}
    model = classifier.network(options, images, recipe)
    return training.robust(model, images, name=options.model, threat=threat, recipe=recipe, **pgd, **how)
