"""The parser and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from steelman.errors import InputError

COMMANDS = {
    "reproduce": "the paper's tables and figures, from data to HTML",
    "evaluate": "measure what a classifier keeps under attack, and whether to trust the figure",
    "pipeline": "put a classifier and its defence together, as one folder that --model takes",
    "runs": "list, show, compare and export the runs of evaluate",
    "attack": "write adversarial images",
    "certify": "find the radius within which no attack succeeds",
    "detect": "measure detectors of attacked images",
    "features": "draw feature maps of clean and attacked images",
    "train": "train a classifier or a defence",
    "report": "draw a run folder's report again",
    "data": "list what ships, or check a source of images",
}
"""What each command does: a module here of the same name, with `add` for its options. Only the one that is asked for is
imported, so that help comes at once."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, and whose examples stand as they are written."""

    def __init__(self, *arguments: object, **how: object) -> None:
        super().__init__(*arguments, **{"formatter_class": argparse.RawDescriptionHelpFormatter} | how)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Prints the message on one line and exits with 2."""
        self.exit(2, f"{self.prog}: {_line(message)} (see {self.prog} --help)\n")


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Returns the parser of the command line, with the options of one command."""
    top = Parser(
        prog="steelman",
        description="Attack image classifiers, put defences in front of them, and say honestly what each is worth.",
        epilog="example: steelman reproduce --out runs/demo",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for name, says in COMMANDS.items():
        command = commands.add_parser(name, help=says)
        if name == chosen:
            importlib.import_module(f"steelman.cli.{name}").add(command)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 for a user's mistake, told in one line."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = next((word for word in words if not word.startswith("-")), None)
    values = vars(parser(chosen).parse_args(words))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("once", UserWarning)
            warnings.showwarning = _warned
            return int(_run(**values) or 0)
    except InputError as error:
        print(f"steelman: {_line(error)}", file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"steelman: {_line(error)}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("steelman: stopped; what is written stays", file=sys.stderr)  # noqa: T201
        return 130


def _run(command: str, run: Callable[..., int], **values: Any) -> int:
    """Calls a command's `run` with its options by name, those of a run as one value."""
    if "usual" not in values:
        return run(**values)
    from steelman.cli.options import arguments

    return run(**arguments(values))


def _line(message: object) -> str:
    """A message on one line, whatever names it quotes."""
    return " ".join(str(message).splitlines())


def _warned(message: Warning | str, *where: object, **more: object) -> None:
    print(f"steelman: warning: {message}", file=sys.stderr)  # noqa: T201
