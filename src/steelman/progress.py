"""How far a piece of work is: one value, whoever works and whoever hears of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is.

    done, total: of its parts, as images, steps or passes; done may stand between two.
    title: what is being done.  broken: images, by an attack.
    notes: what is finished, in words, as the epochs of a training.
    inside: how far a part is that takes long by itself, as a training within a study.
    """

    done: float
    total: float
    title: str = ""
    broken: int = 0
    notes: tuple[str, ...] = ()
    inside: Progress | None = None

    @property
    def share(self) -> float:
        """What is done, in [0, 1]."""
        return self.done / self.total if self.total else 1.0


OnProgress = Callable[[Progress], None]
"""Whoever hears of it."""


def part(progress: OnProgress | None, at: int, of: int) -> OnProgress | None:
    """Returns who hears of one of several equal parts, and tells another how far the whole is; None for nobody."""
    if progress is None:
        return None
    return lambda now: progress(replace(now, done=at * now.total + now.done, total=of * now.total))


def inside(progress: OnProgress, whole: Progress, title: str) -> OnProgress:
    """Returns who hears of a part that takes long by itself, and tells another of it inside the whole.

    title: of the part.
    """
    return lambda now: progress(replace(whole, inside=replace(now, title=title)))


def takes_observe(call: Callable[P, R]) -> Callable[P, R]:
    """Returns the function, which takes its former keyword `observe` too; it goes with the next release."""

    @wraps(call)
    def either(*given: Any, observe: OnProgress | None = None, **named: Any) -> Any:
        if observe is not None:
            warnings.warn("observe=… goes: write progress=…", DeprecationWarning, stacklevel=2)
            named["progress"] = observe
        return call(*given, **named)

    return either  # type: ignore[return-value]
