"""`steelman report`: a run folder to HTML again."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "report",
        help="draw a run folder's report again",
        description="Read results.json and pictures.npz of a run folder and write the report as one HTML file.",
        epilog="example: steelman report runs/demo --out demo.html",
    )
    command.add_argument("folder", type=Path, help="a folder that reproduce or evaluate wrote")
    command.add_argument("--out", type=Path, help="the HTML file (report.html in the folder)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Reads and writes."""
    from steelman.cli.show import console
    from steelman.evaluation.records import read

    path = options.out or options.folder / "report.html"
    read(options.folder).save(path)
    console.print(f"wrote {path}")
    return 0
