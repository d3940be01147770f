"""What the commands print: progress with the time that remains, tables, and where things run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from steelman.progress import OnProgress, Progress
from steelman.records import Evaluation
from steelman.report import summary, tables, write_html

console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 140)


def command_line() -> str:
    """Returns the command as it was given."""
    return shlex.join(["steelman", *sys.argv[1:]])


@contextmanager
def following(title: str) -> Iterator[OnProgress]:
    """Who hears of a piece of work and shows it: bars with the time that remains, and a line for what is finished.

    Away from a terminal, a line for every tenth.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Bars(
        *columns,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        if not console.is_terminal:
            console.print(title)
        whole, parts = _Shown(bars, title), dict[str, _Shown]()

        def hear(now: Progress) -> None:
            whole.show(now)
            if now.inside is not None:
                named = now.inside.title
                parts.setdefault(named, _Shown(bars, named)).show(now.inside)

        yield hear


class _Shown:
    """One bar, and how much of its work has been printed."""

    def __init__(self, bars: Bars, title: str) -> None:
        self.bars, self.title, self.task = bars, title, bars.add_task(title, total=None)
        self.tenths = self.notes = 0

    def show(self, now: Progress) -> None:
        words = [f": {now.title}" if now.title not in ("", self.title) else "", f", {now.broken} broken"]
        said = self.title + words[0] + words[1] * bool(now.broken)
        self.bars.update(self.task, total=now.total, completed=now.done, description=said)
        for note in now.notes[self.notes :]:
            self.bars.console.print(note)
        self.notes = max(self.notes, len(now.notes))
        if not console.is_terminal and int(10 * now.share) > self.tenths:
            self.tenths = int(10 * now.share)
            console.print(f"{now.share:4.0%} {now.title or self.title}")


def finish(evaluation: Evaluation, folder: Path) -> None:
    """Writes results.json, pictures.npz and report.html, and then prints the tables and what they come to."""
    evaluation.write(folder)
    write_html(evaluation, folder / "report.html")
    for found in tables(evaluation):
        table = Table(
            title=Text(found.title), caption=Text(found.caption), title_justify="left", caption_justify="left"
        )
        for header, numeric in zip(found.headers, found.numeric, strict=True):
            table.add_column(Text(header), justify="right" if numeric else "left")
        for row in found.rows:
            table.add_row(*map(Text, row))
        console.print(table)
        for note in found.notes:
            console.print(f"  {note}")
    for line in summary(evaluation):
        console.print(line)
    console.print(f"wrote {folder}/results.json and {folder}/report.html ({evaluation.seconds:.0f} s)")
