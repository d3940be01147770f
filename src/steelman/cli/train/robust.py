"""`steelman train robust`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from steelman.cli import options
from steelman.cli.train import classifier
from steelman.errors import InputError
from steelman.registry import takes
from steelman.spec.words import settings

if TYPE_CHECKING:
    from steelman.cli.train.given import Given
    from steelman.training import Trained

HELP = "a classifier that is to withstand attacks"
NAMED = "model"
EXAMPLES = (
    "steelman train robust --data mnist --model lenet --norm Linf --eps 0.3 --out runs/robust.safetensors",
    "steelman train robust --model lenet --eps 0.3 --objective trades --set beta=1 --out runs/trades.safetensors",
    "steelman train robust --model lenet --eps 0.3 --objective mixed --attack mi-fgsm --out runs/mixed.safetensors",
)

_OWN = ("attack", "steps", "size", "ramp")
"""Settings of objectives that have an option of their own."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    classifier.add_network(command)
    options.add_threat(command, "it is to withstand")
    command.add_argument(
        "--objective",
        default="madry",
        help="madry, mixed, logit-pairing, trades, mart, guided, fast, free, ibp or crown-ibp (madry)",
    )
    command.add_argument("--attack", help="that it trains on, by name, for objectives that take any (their paper's)")
    command.add_argument("--steps", type=int, help="of that attack (its paper's; 40 of PGD)")
    command.add_argument("--size", type=float, help="of one of them (its paper's; 4/3 eps / steps of PGD)")
    command.add_argument(
        "--ramp", type=float, default=0.3, help="the share of the training over which eps rises to its value (0.3)"
    )
    command.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of the objective, as in beta=1"
    )


def recipe(name: str) -> str:
    """Returns the recipe, one for all."""
    return "robust"


def train(given: Given, *, objective: str, set: list[str], **asked: Any) -> Trained:
    """Trains it, and says what a step cost."""
    from steelman import training
    from steelman.cli.console import console
    from steelman.training import objectives

    own = {name: asked.pop(name) for name in _OWN}
    threat = given.ball()
    aim = objectives.catalogue.resolve(objective, code=True)
    settings = _settings(objective, {name: it for name, it in own.items() if it is not None}, set)
    model = classifier.made(given, **asked)
    how = {"name": asked["model"], "threat": threat, "objective": aim}
    trained = training.robust(model, given.images, **how, **settings, **given.fit)
    console.print(f"a step took {trained.settings['cost']:g} times the passes of one of training on labels")
    return trained


def _settings(objective: str, own: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """What is said of the objective, by options of its own and by --set.

    Raises InputError for what it does not have.
    """
    from steelman import attacks
    from steelman.training.objectives import catalogue

    has = set(takes(catalogue.get(objective, code=True)))
    for name in sorted(own.keys() - has - {"ramp"}):
        raise InputError(f"expected no --{name} for {objective}, which has none: leave it out")
    if "attack" in own:
        own["attack"] = attacks.catalogue.resolve(own["attack"], code=True)
    return own | settings(words, f"setting of {objective}", has - {"threat", "classify", *_OWN})
