"""The signature that `evaluate` had before it took options as a value; it goes with the next release."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

from torch import nn

from steelman.data import Images
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.pipeline import wrapped
from steelman.progress import OnProgress, Progress

P = ParamSpec("P")
R = TypeVar("R")

_RENAMED = {"model": "pipeline", "images": "data", "observe": "progress"}
_NAMES = {"undefended", "name", "defence"}
_OPTIONS = {field.name for field in fields(EvaluationOptions)}


def takes_former(evaluate: Callable[P, R]) -> Callable[P, R]:
    """Returns the function, which takes its former keywords too and says what to write in their place."""

    @wraps(evaluate)
    def either(*given: Any, **named: Any) -> Any:
        former = [name for name in named if name in _RENAMED or name in _NAMES or name in _OPTIONS]
        if former:
            warnings.warn(_instead(former), DeprecationWarning, stacklevel=2)
            named = {_RENAMED.get(name, name): value for name, value in named.items()}
            if "observe" in former:
                named["progress"] = _observed(named["progress"])
            named |= dict(zip(("pipeline", "data", "attacks"), given, strict=False))
            about = {name: named.pop(name) for name in former if name in _NAMES}
            chosen = {name: named.pop(name) for name in former if name in _OPTIONS}
            named |= {"options": EvaluationOptions(**chosen)} if chosen else {}
            named["pipeline"] = _named(named["pipeline"], named["data"], **about)
            given = ()
        return evaluate(*given, **named)

    return either


def _named(
    model: nn.Module, data: Images, undefended: nn.Module | None = None, name: str = "model", defence: str | None = None
) -> nn.Module | Defended:
    label = defence or ("none" if undefended is None else "defended")
    pipeline = wrapped(model, undefended, classes=data.classes, input_shape=data.shape, name=name, defence=label)
    return pipeline if undefended is None else Defended(pipeline, undefended)


class Now(NamedTuple):
    """What an observer heard: which piece of work is running, as one of how many, and how far it is."""

    title: str
    at: int
    of: int
    progress: Progress


def _observed(observe: Callable[[Now], None]) -> OnProgress:
    def hear(now: Progress) -> None:
        at = min(int(now.done), int(now.total) - 1)
        observe(Now(now.title, at, int(now.total), Progress(now.done - at, 1, broken=now.broken)))

    return hear


def _instead(former: list[str]) -> str:
    renamed = [f"{_RENAMED[name]}=…" for name in former if name in _RENAMED]
    about = [f"{name}=…" for name in former if name in ("name", "defence")]
    pipeline = f"Pipeline(classifier, purifier=…{''.join(f', {one}' for one in about)})"
    pipeline = pipeline if about or "undefended" in former else "pipeline"
    chosen = [f"{name}=…" for name in former if name in _OPTIONS]
    written = [
        f"Defended({pipeline}, undefended)" if "undefended" in former else pipeline,
        "data",
        "attacks",
        *([f"EvaluationOptions({', '.join(chosen)})"] if chosen else []),
        *(one for one in renamed if one.startswith("progress")),
    ]
    return f"evaluate no longer takes {', '.join(former)}: write evaluate({', '.join(written)})"
