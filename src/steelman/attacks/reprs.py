"""How an attack is written down, as the record that a report shows."""

from __future__ import annotations

from dataclasses import fields
from types import FunctionType
from typing import Any


def by_name(thing: Any) -> str:
    """Returns the repr of a dataclass with functions by their names, so that it is the same in every process."""
    values = ((field.name, getattr(thing, field.name)) for field in fields(thing))
    words = (f"{name}={value.__name__ if isinstance(value, FunctionType) else repr(value)}" for name, value in values)
    return f"{type(thing).__name__}({', '.join(words)})"
