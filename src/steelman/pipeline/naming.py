"""By which name and settings a module is made again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict
from torch import nn

from steelman import registry
from steelman.defences import Smoothed
from steelman.errors import InputError
from steelman.models import Resized
from steelman.registry import Registry


class Wrapper(NamedTuple):
    """A module that stands around another.

    kind: its type.  inside: the attribute that holds the other.  settings: attributes by which it is made again.
    """

    kind: Callable[..., nn.Module]
    inside: str
    settings: tuple[str, ...]

    def around(self, module: nn.Module, settings: Mapping[str, Any]) -> nn.Module:
        """Returns it around a module."""
        return self.kind(module, **{name: settings[name] for name in self.settings})


WRAPPERS: Mapping[str, Wrapper] = {
    "resized": Wrapper(Resized, "inner", ("size",)),
    "smoothed": Wrapper(Smoothed, "model", ("sigma", "draws", "clip")),
}


class Layer(BaseModel):
    """A wrapper and its settings, as JSON values."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    name: Literal["resized", "smoothed"]
    settings: dict[str, int | float | bool]


class Named(NamedTuple):
    """How a module is made again.

    name: of a catalogue, package.module:name, or path/to/file.py:name.  settings: for it.
    around: what the module stood in, the outermost first.  inner: what stood in it all.
    """

    name: str
    settings: dict[str, Any]
    around: list[Layer]
    inner: nn.Module


def named(module: nn.Module, label: str, kinds: Registry[Callable[..., nn.Module]]) -> Named:
    """Returns how a module is made again.

    label: what it is called, as in package.module:name or NAME:KEY=VALUE, if that says where it comes from.
    Raises InputError if nothing says so.
    """
    around: list[Layer] = []
    while wrapper := next((name for name, it in WRAPPERS.items() if type(module) is it.kind), None):
        it = WRAPPERS[wrapper]
        around.append(Layer(name=wrapper, settings={key: getattr(module, key) for key in it.settings}))  # type: ignore[arg-type]
        module = getattr(module, it.inside)
    settings = dict(getattr(module, "settings", {}))
    known = next((name for name, kind in kinds.shipped.items() if kind is type(module)), None)
    if known is not None:
        return Named(known, settings, around, module)
    bare, colon, listed = label.rpartition(":")
    place = bare if colon and "=" in listed else label
    if place not in kinds and ":" not in place:
        place = _place(type(module))
    takes = registry.takes(kinds.get(place, code=True))
    return Named(place, {key: value for key, value in settings.items() if key in takes}, around, module)


def _place(kind: type) -> str:
    """Where a class stands that others can import."""
    module = sys.modules[kind.__module__]
    file = getattr(module, "__file__", None)
    if "<locals>" in kind.__qualname__ or file is None or kind.__module__ == "__main__":
        raise InputError(
            f"expected stages that a name makes again, got {kind.__qualname__}, which stands in no module: move it to "
            "a file, and name the pipeline's classifier or defence path/to/file.py:name"
        )
    own = Path(file).stem in (kind.__module__.rpartition(".")[2], "__init__")
    return f"{kind.__module__ if own else file}:{kind.__qualname__}"
