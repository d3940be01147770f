"""`steelman data`: what ships, and whether a source of images is sound."""

from __future__ import annotations

import argparse


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = "List the data sets that ship, or read a source whole and say what it holds."
    command.epilog = "examples: steelman data list; steelman data check mnist; steelman data check my/images"
    command.add_argument("what", choices=["list", "check"])
    command.add_argument("source", nargs="?", help="check: a data set's name, a folder, an .npz")
    command.set_defaults(run=run)


def run(what: str, source: str | None) -> int:
    """Lists or checks."""
    from rich.table import Table

    from steelman import data
    from steelman.cli.console import console
    from steelman.errors import InputError

    if what == "list":
        table = Table("name", "what", "images", "shape", "licence", "source")
        for item in data.datasets():
            count = f"{item.train:,} + {item.test:,}"
            table.add_row(item.name, item.title, count, "×".join(map(str, item.shape)), item.licence, item.source)
        console.print(table)
        return 0
    if source is None:
        raise InputError("expected a source to check: say steelman data check mnist, or a folder, or an .npz")
    summary = data.check(source)
    console.print(f"{summary.name}: {' × '.join(map(str, summary.shape))}, {len(summary.classes)} classes, sound")
    table = Table("split", "images", "type", "fewest in a class", "most in a class", "SHA-256")
    for part in summary.splits:
        table.add_row(
            part.name, f"{part.n:,}", part.dtype, str(min(part.counts)), str(max(part.counts)), part.sha256[:16]
        )
    console.print(table)
    return 0
