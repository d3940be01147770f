"""The options of a run on the command line, read off the fields of RunSpec."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steelman.errors import InputError
from steelman.radius import radius as radius_of
from steelman.spec import RunSpec
from steelman.spec.options import OPTIONS, Option
from steelman.spec.words import value

DATA = ("data.name", "data.like", "data.images")
MODEL = ("model.name", "model.weights", "model.device", "run.seed")
DEFENCE = ("defence.name",)
ATTACK = tuple(key for key in OPTIONS if key.startswith("attack."))


def add(
    command: argparse.ArgumentParser,
    *keys: str,
    usual: Mapping[str, Any] | None = None,
    called: Mapping[str, str] | None = None,
    says: Mapping[str, str] | None = None,
    single: bool = False,
) -> None:
    """Adds options to a command, whose `run` then gets the run that they say as `spec`.

    usual: this command's own defaults.  called: its own names of options.  says: its own help, all by key.
    single: whether it takes one of each alone.
    """
    before: dict[str, Any] = command.get_default("usual") or {}
    mine = {key: OPTIONS[key].default for key in keys if not OPTIONS[key].table}
    usual = {**before, **mine, **{key: before[key] for key in keys if key in before}, **(usual or {})}
    command.set_defaults(usual=usual)
    for key in keys:
        option = OPTIONS[key]
        told = (says or {}).get(key, option.says)
        if key == "attack.settings":
            how: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME=VALUE"}
            command.add_argument("--set", dest=key, help=told, **how)
        elif not option.table:
            default = usual.get(key, option.default)
            how = _how(option, default, single)
            shown = f" ({_shown(default)})" if default not in (None, False) else ""
            name = (called or {}).get(key, option.option)
            command.add_argument(name, dest=key, default=argparse.SUPPRESS, help=told.replace("%", "%%") + shown, **how)


def add_classifier(command: argparse.ArgumentParser, role: str) -> None:
    """Adds the options that name a classifier beside what is trained."""
    called = {"model.name": "--classifier"}
    says = {"model.name": f"{role}, as in mnist/cnn", "model.weights": "safetensors of that classifier, if none ship"}
    add(command, "model.name", "model.weights", called=called, says=says)


def add_threat(command: argparse.ArgumentParser, role: str, radius: str = "") -> None:
    """Adds the options for what a training is to withstand.

    radius: what is taken where none is said.
    """
    eps = f"its radius, in units of [0, 1] images, as in 0.1 or 8/255{radius}"
    says = {"attack.norm": f"of what {role}", "attack.eps": eps}
    add(command, "attack.norm", "attack.eps", says=says, single=True)


def _how(option: Option, default: Any, single: bool) -> dict[str, Any]:
    """How argparse takes an option; what is wrong with its value RunSpec tells."""
    if option.switch:
        return {"action": argparse.BooleanOptionalAction if default else "store_true"}
    choices = option.kind.wanted.removeprefix("one of ").split(", ") if option.kind.wanted.startswith("one of") else []
    return {
        "type": str if option.kind.plain else value,
        "nargs": "+" if option.several and not single else None,
        "metavar": f"{{{','.join(choices)}}}" if choices else option.option.removeprefix("--").upper(),
    }


def _shown(default: Any) -> str:
    if default is True:
        return "on"
    return " ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)


def add_file(command: argparse.ArgumentParser) -> None:
    """Lets a command take its run from a file too."""
    command.add_argument(
        "file",
        nargs="?",
        type=Path,
        help="a TOML file that says all this; it stands before the options, which override it",
    )


def add_trust(command: argparse.ArgumentParser) -> None:
    """Lets a user trust the code that a file or the folder of a pipeline names."""
    says = "run the code that a file or the folder of a pipeline names as package.module:name or path/to/file.py:name"
    command.add_argument("--trust-code", action="store_true", help=says)


def radius(text: str) -> float:
    """Returns a radius that an option of a command's own takes, as in 8/255; argparse tells what is none."""
    try:
        return radius_of(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def arguments(values: dict[str, Any]) -> dict[str, Any]:
    """Returns what a command's `run` is called with: its own options by name, and as `spec` the run that others say.

    Raises InputError for a run that cannot be.
    """
    if "usual" not in values:
        return values
    own = {key: it for key, it in values.items() if key not in OPTIONS}
    said = {key: it for key, it in values.items() if key in OPTIONS}
    words = said.pop("attack.settings", ())
    spec = RunSpec.read(
        own.pop("file", None), said, words, usual=own.pop("usual"), trust_code=own.get("trust_code", False)
    )
    return own | {"spec": spec}
