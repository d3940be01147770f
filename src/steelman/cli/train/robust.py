"""`steelman train robust`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from steelman.cli.bring import NORMS, settings
from steelman.cli.train import classifier
from steelman.errors import InputError
from steelman.registry import takes

if TYPE_CHECKING:
    from steelman.data import Data
    from steelman.training import Recipe, Trained

HELP = "a classifier that is to withstand attacks"
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
    command.add_argument("--norm", choices=NORMS, default="Linf", help="of what it is to withstand (Linf)")
    command.add_argument("--eps", type=float, help="the radius, in units of [0, 1] images")
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


def named(options: argparse.Namespace) -> tuple[str, str]:
    """Returns what is trained, and the name of its recipe."""
    return options.model, "robust"


def train(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    """Trains it, and says what a step cost."""
    from steelman import norms, training
    from steelman.cli.console import console
    from steelman.training import objectives

    if options.eps is None:
        raise InputError("expected --eps, the radius to withstand, got none: say --eps 0.3, as is usual for MNIST")
    threat = getattr(norms, options.norm)(options.eps)
    given = _settings(options)
    model = classifier.network(options, images, recipe)
    aim = objectives.catalogue.resolve(options.objective, code=True)
    trained = training.robust(
        model, images, name=options.model, threat=threat, recipe=recipe, objective=aim, **given, **how
    )
    console.print(f"a step took {trained.settings['cost']:g} times the passes of one of training on labels")
    return trained


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say of the objective.

    Raises InputError for what it does not have.
    """
    from steelman import attacks
    from steelman.training.objectives import catalogue

    has = set(takes(catalogue.get(options.objective, code=True)))
    given = {name: value for name in _OWN if (value := getattr(options, name)) is not None}
    for name in sorted(given.keys() - has - {"ramp"}):
        raise InputError(f"expected no --{name} for {options.objective}, which has none: leave it out")
    if "attack" in given:
        given["attack"] = attacks.catalogue.resolve(given["attack"], code=True)
    return given | settings(options.set, f"setting of {options.objective}", has - {"threat", "classify", *_OWN})
