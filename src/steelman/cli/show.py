"""What the commands print: progress with the time that remains, tables, and where things run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from steelman.errors import InputError
from steelman.training.fit import Observer
from steelman.training.fit import Progress as Training

console = Console(highlight=False)


def device(name: str) -> str:
    """Returns the device to work on; "auto" takes a GPU where there is one.

    Raises InputError for a device that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("expected a CUDA GPU for --device cuda, got none: say --device cpu")
    try:
        return str(torch.device(name))
    except RuntimeError:
        raise InputError(f"expected a device such as cpu or cuda, got {name!r}") from None


@contextmanager
def bars(title: str) -> Iterator[Progress]:
    """A progress display with elapsed and remaining time, on a terminal; quiet lines elsewhere."""
    with Progress(
        TextColumn("{task.description}"),
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
def training(title: str) -> Iterator[Observer]:
    """An observer for `fit` that shows a bar, and a line for every epoch."""
    with bars(title) as progress:
        task = progress.add_task(title, total=None)
        told = 0

        def observe(now: Training) -> None:
            nonlocal told
            progress.update(task, total=now.steps, completed=now.step)
            for epoch in now.history[told:]:
                scores = ", ".join(f"{name} {value:.4f}" for name, value in epoch.scores.items())
                progress.console.print(f"epoch {epoch.epoch}: loss {epoch.loss:.4f}, {scores} ({epoch.seconds:.0f} s)")
            told = len(now.history)

        yield observe
