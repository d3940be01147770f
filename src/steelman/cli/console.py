"""What the commands print: progress with the time that remains, tables, and where things run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from steelman import attacks, training
from steelman.evaluation.running.runner import Now
from steelman.records import Evaluation
from steelman.report import summary, tables, write_html
from steelman.studies.paper_setup import Done

console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 140)


def command_line() -> str:
    """Returns the command as it was given."""
    return shlex.join(["steelman", *sys.argv[1:]])


@contextmanager
def bars(title: str) -> Iterator[Progress]:
    """A progress display with elapsed and remaining time, on a terminal; quiet lines elsewhere."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        if not console.is_terminal:
            console.print(title)
        yield progress


@contextmanager
def fitting(title: str) -> Iterator[training.Observer]:
    """An observer for a training that shows a bar, and a line for every epoch."""
    with bars(title) as progress:
        task = progress.add_task(title, total=None)
        told = 0

        def observe(now: training.Progress) -> None:
            nonlocal told
            progress.update(task, total=now.steps, completed=now.step)
            for epoch in now.history[told:]:
                scores = ", ".join(f"{name} {value:.4f}" for name, value in epoch.scores.items())
                progress.console.print(f"epoch {epoch.epoch}: loss {epoch.loss:.4f}, {scores} ({epoch.seconds:.0f} s)")
            told = len(now.history)

        yield observe


@contextmanager
def attacking(title: str) -> Iterator[Callable[[attacks.Progress], None]]:
    """An observer for one attack."""
    with bars(title) as progress:
        task = progress.add_task(title, total=None)
        yield lambda now: progress.update(
            task, total=now.total, completed=now.done, description=f"{title}: {now.broken} broken"
        )


@contextmanager
def evaluating(title: str) -> Iterator[Callable[[Now], None]]:
    """An observer for an evaluation: all its attacks as one bar; away from a terminal, a line for every tenth."""
    with bars(title) as progress:
        task = progress.add_task(title, total=None)
        told = 0

        def observe(now: Now) -> None:
            nonlocal told
            share = (now.at + now.progress.done / max(1, now.progress.total)) / now.of
            progress.update(task, total=1.0, completed=share, description=f"{title}: {now.title}")
            if not console.is_terminal and int(10 * share) > told:
                told = int(10 * share)
                console.print(f"{share:4.0%} {now.title}")

        yield observe


@contextmanager
def measuring(title: str) -> Iterator[Callable[[Done], None]]:
    """An observer for a study: every cell by its cost."""
    with bars(title) as progress:
        task = progress.add_task(title, total=None)
        told = ""

        def observe(now: Done) -> None:
            nonlocal told
            progress.update(task, total=now.total, completed=now.done, description=now.title)
            if not console.is_terminal and now.title != told:
                console.print(f"{now.done / now.total:4.0%} {now.title}")
                told = now.title

        yield observe


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
