"""The kinds of value that options have: what each must be, to pydantic and in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from steelman.errors import InputError
from steelman.radius import radius

LEAST, MOST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Kind:
    """What a value must be, in words.

    plain: whether the command line makes nothing of it but a word.
    """

    wanted: str
    plain: bool = False


@dataclass(frozen=True)
class Name:
    """A name among others.

    kind: what is named, as in "attack".  known: the names, looked up when there is one to check.
    file: what else it may be the path of, as in "an .npz"; a name goes before a path.
    code: whether it may be package.module:factory.
    """

    kind: str
    known: Callable[[], Iterable[str]]
    file: str = ""
    code: bool = False
    wanted: str = "a name"
    plain: bool = True


def _listed(value: object) -> tuple[Any, ...]:
    """One value as one of many; each once."""
    several = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not several:
        raise ValueError("as one or more, got []: leave it out, or name one")
    return several


def _once(several: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [each for k, each in enumerate(several) if each in several[:k]]
    if twice:
        raise ValueError(f"as different ones, got {shown(twice[0])} twice: leave one out")
    return several


def _radius(value: object) -> float:
    try:
        return radius(value)
    except InputError:
        raise ValueError from None


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError
    return Path(value)


def _setting(value: object) -> Any:
    """A finite number, true, false, a word or None, which the word none says too; or a list of them."""
    if isinstance(value, list | tuple):
        return [_setting(each) for each in value]
    fits = value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    if not fits or value == "" or (isinstance(value, int) and not LEAST <= value <= MOST):
        raise ValueError
    return None if value == "none" else value


def kind(info: FieldInfo) -> Kind | Name:
    """Returns what the value of a field must be."""
    return [part for part in _within(info) if isinstance(part, Kind | Name)][-1]


def _within(annotation: object) -> Iterator[object]:
    """Everything that an annotation is made of."""
    parts = (annotation.annotation, *annotation.metadata) if isinstance(annotation, FieldInfo) else get_args(annotation)
    for part in parts:
        yield part
        yield from _within(part)


def shown(value: object) -> str:
    """Returns a value as a message shows it: as TOML spells it, and short."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


_WORD = Field(strict=True, pattern=r"^[^\x00]+$")

Seed = Annotated[int, Field(strict=True, ge=LEAST, le=MOST), Kind("a whole number of at most 64 bits")]
Amount = Annotated[int, Field(strict=True, ge=0, le=MOST), Kind("a whole number >= 0")]
Count = Annotated[int, Field(strict=True, ge=1, le=MOST), Kind("a whole number >= 1")]
Size = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), Kind("a number > 0")]
Share = Annotated[float, Field(strict=True, gt=0, lt=1), Kind("a number above 0 and below 1")]
Switch = Annotated[bool, Field(strict=True), Kind("true or false")]
Word = Annotated[str, _WORD, Kind("a word", plain=True)]
PATH = Kind("a path", plain=True)
File = Annotated[Path, BeforeValidator(_path), PATH]
Norm = Annotated[Literal["Linf", "L2", "L1", "L0"], Kind("one of Linf, L2, L1, L0", plain=True)]
Several = (BeforeValidator(_listed), AfterValidator(_once))

_NUMBER = {"type": "number", "minimum": 0}
_FRACTION = {"type": "string", "pattern": r"^ *[0-9.]+ */ *[0-9.]+ *$|^ *[0-9.eE+-]+ *$"}
Radius = Annotated[
    float,
    BeforeValidator(_radius),
    WithJsonSchema({"anyOf": [_NUMBER, _FRACTION]}),
    Kind("a number >= 0 or a fraction such as 8/255"),
]

_SCALARS = {"type": ["number", "boolean", "string"]}
Setting = Annotated[
    Any,
    BeforeValidator(_setting),
    WithJsonSchema({"anyOf": [_SCALARS, {"type": "array", "items": _SCALARS}]}),
    Kind("a number, true, false or a word, or a list of them"),
]
