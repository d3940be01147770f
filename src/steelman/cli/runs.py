"""`steelman runs`: the runs that evaluate left, listed, shown, compared and exported."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steelman.evaluation.storing.runs import Summary
    from steelman.records import Case

EXAMPLES = """examples:
  steelman runs list
  steelman runs show runs/unet
  steelman runs compare runs/unet runs/jpeg
  steelman runs export runs/unet samples.csv"""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = "Look at run folders again."
    command.epilog = EXAMPLES
    kinds = command.add_subparsers(required=True, metavar="what")
    one = kinds.add_parser("list", help="every run below a folder, the last begun first")
    one.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="where the runs are (runs)")
    one.set_defaults(run=_list)
    one = kinds.add_parser("show", help="one run, finished or not")
    one.add_argument("folder", type=Path, help="the run folder")
    one.set_defaults(run=_show)
    one = kinds.add_parser("compare", help="two runs on the same images, by the exact McNemar test")
    one.add_argument("first", type=Path, help="a run folder")
    one.add_argument("second", type=Path, help="another")
    one.set_defaults(run=_compare)
    one = kinds.add_parser("export", help="every sample of a run as .csv, .json or .parquet")
    one.add_argument("folder", type=Path, help="the run folder")
    one.add_argument("file", type=Path, help="what to write, as in samples.csv")
    one.set_defaults(run=_export)


def _list(folder: Path) -> int:
    from rich.table import Table
    from rich.text import Text

    from steelman.cli.console import console
    from steelman.evaluation.storing.runs import listed

    found = listed(folder)
    if not found:
        console.print(f"no runs below {folder}")
        return 0
    table = Table("run", "began", "pipeline", "threat", "robust", "verdict")
    for one in found:
        for cells in _lines(one):
            table.add_row(*map(Text, cells))
    console.print(table)
    return 0


def _lines(one: Summary) -> list[tuple[str, ...]]:
    if one.trouble:
        return [(one.folder, "", one.trouble, "", "", "")]
    state = "" if one.finished else " (not finished)"
    if not one.cases:
        return [(one.folder, one.began, one.title + state, "", "", "")]
    return [
        (one.folder, one.began, one.title + state, _threat(case), _robust(case), case.verdict.word)
        for case in one.cases
    ]


def _show(folder: Path) -> int:
    from rich.table import Table
    from rich.text import Text

    from steelman.cli.console import console
    from steelman.evaluation.storing.runs import cases

    for case in cases(folder):
        defence = "" if case.defence == "none" else f" behind {case.defence}"
        verdict = case.verdict.sentence
        console.print(f"{case.classifier}{defence} on {case.dataset}, {_threat(case)}, {case.n:,} images")
        console.print(f"  {_robust(case)} robust. {verdict[0].upper()}{verdict[1:]}.")
        table = Table("attack", "gradient path", "tried", "broke", "forward passes", "backward passes", "seconds")
        for one in case.breakers:
            cells = (one.attack, one.through or "made on the bare classifier", f"{one.tried:,}", f"{one.broke:,}")
            table.add_row(*map(Text, (*cells, f"{one.forwards:,}", f"{one.backwards:,}", f"{one.seconds:.0f}")))
        console.print(table)
        for check in case.checks:
            console.print(f"  {check.outcome}: {check.name}: {check.measured}")
    return 0


def _compare(first: Path, second: Path) -> int:
    from rich.table import Table

    from steelman.cli.console import console
    from steelman.evaluation.storing.runs import compared

    table = Table("threat", "images", "both robust", "only the first", "only the second", "neither", "p (McNemar)")
    for one in compared(first, second):
        counts = (one.n, one.both, one.first, one.second, one.neither)
        table.add_row(f"{one.norm} {one.eps:g}", *(f"{count:,}" for count in counts), f"{one.p:.3g}")
    console.print(table)
    return 0


def _export(folder: Path, file: Path) -> int:
    from steelman.cli.console import console
    from steelman.evaluation.storing.runs import exported

    count = exported(folder, file)
    console.print(f"wrote {count:,} samples to {file}")
    return 0


def _threat(case: Case) -> str:
    return "no ball" if case.norm == "none" else f"{case.norm} {case.eps:g}"


def _robust(case: Case) -> str:
    return f"{case.kept / max(1, case.n):.1%}"
