"""The parser and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from steelman.cli import attack, certify, data, detect, evaluate, features, report, reproduce, runs, train
from steelman.errors import InputError

COMMANDS = (reproduce, evaluate, runs, attack, certify, detect, features, train, report, data)


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Prints the message on one line and exits with 2."""
        self.exit(2, f"{self.prog}: {_line(message)} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    top = Parser(
        prog="steelman",
        description="Attack image classifiers, put defences in front of them, and say honestly what each is worth.",
        epilog="example: steelman reproduce --out runs/demo",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for command in COMMANDS:
        command.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 for a user's mistake, told in one line."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("once", UserWarning)
            warnings.showwarning = _warned
            return int(options.run(options) or 0)
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


def _line(message: object) -> str:
    """A message on one line, whatever names it quotes."""
    return " ".join(str(message).splitlines())


def _warned(message: Warning | str, *where: object, **more: object) -> None:
    print(f"steelman: warning: {message}", file=sys.stderr)  # noqa: T201
