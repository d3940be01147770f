"""What makes an attack, or a network, the one that it is: a text that is the same in every process."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_TORCHS = frozenset(vars(nn.Module()))
"""Attributes that every module has: its parts, which are taken by name, its hooks and its mode."""

_INSIDE = -1
"""Stands in a path for something that is no dataclass: what hangs on it, as on a logger, can be the whole process."""


def key_of(thing: Any, inside: tuple[int, ...] = ()) -> str:
    """Returns a text that holds everything of a thing by which its results could differ.

    Dataclasses by their fields, tensors by a digest of their values, networks by one of every weight, buffer and
    attribute of every module in them; functions by where they stand, those without a name that others could import by
    what they do and what they hold. What shares parts has the key of what has equal ones.
    inside: what it stands in, by which a circle is noticed.
    """
    if isinstance(thing, Enum | str | int | float | complex | bytes | type(None) | torch.dtype | torch.device):
        return repr(thing)
    if isinstance(thing, Tensor):
        return f"tensor({tuple(thing.shape)}, {thing.dtype}, {_sha(_bytes(thing))})"
    if isinstance(thing, np.ndarray | np.generic):
        return f"array({thing.dtype}, {key_of(thing.tolist())})"
    if id(thing) in inside:
        return f"the {inside.index(id(thing))}. around it"
    path = (*inside, id(thing))
    if isinstance(thing, nn.Module):
        own = {name: value for name, value in vars(thing).items() if name not in _TORCHS}
        parts = {**thing._parameters, **thing._buffers, **thing._modules, **own}
        return f"{_kind(type(thing))}({_sha(key_of(parts, path).encode())})"
    if isinstance(thing, Mapping):
        return f"{{{', '.join(sorted(f'{key_of(name)}: {key_of(value, path)}' for name, value in thing.items()))}}}"
    if isinstance(thing, set | frozenset):
        return f"{{{', '.join(sorted(key_of(one, path) for one in thing))}}}"
    if isinstance(thing, list | tuple):
        return f"({', '.join(key_of(one, path) for one in thing)})"
    return _of_function(thing, path) or _of_object(thing, path)


def _of_function(thing: Any, path: tuple[int, ...]) -> str:
    """The key of what is called, "" for anything else."""
    if isinstance(thing, type | BuiltinFunctionType):
        return _place(thing)
    if isinstance(thing, MethodType):
        return f"{key_of(thing.__self__, path)}.{thing.__name__}"
    if isinstance(thing, functools.partial):
        return f"partial({key_of((thing.func, thing.args, thing.keywords), path)})"
    if not isinstance(thing, FunctionType):
        return ""
    if "<" not in thing.__qualname__ and thing.__module__ != "__main__":
        return _place(thing)
    held = [cell.cell_contents for cell in thing.__closure__ or () if cell != CellType()]  # one can be empty
    inside = key_of((held, thing.__defaults__, thing.__kwdefaults__), path)
    return f"{_place(thing)}({_sha((_code(thing.__code__) + inside).encode())})"


def _of_object(thing: Any, path: tuple[int, ...]) -> str:
    """A dataclass by its fields, and anything else by all that it holds; what such a thing holds by its type alone."""
    if is_dataclass(thing):
        values: Mapping[str, Any] = {field.name: getattr(thing, field.name) for field in fields(thing)}
    else:
        values = {} if _INSIDE in path else dict(sorted(getattr(thing, "__dict__", {}).items()))
        path = (*path, _INSIDE)
    return f"{_place(type(thing))}({', '.join(f'{name}={key_of(value, path)}' for name, value in values.items())})"


def _kind(kind: type[nn.Module]) -> str:
    """A class of networks; where in steelman ours stand does not matter to what is saved."""
    return kind.__qualname__ if kind.__module__.startswith("steelman.") else _place(kind)


def _place(named: Any) -> str:
    module = getattr(named, "__module__", None) or ""
    return f"{module}.{named.__qualname__}".removeprefix("steelman.").removeprefix("attacks.")


def _code(code: CodeType) -> str:
    """What a function does; the functions inside it too, and no line numbers or addresses."""
    constants = [_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names} {code.co_varnames}"


def _bytes(tensor: Tensor) -> bytes:
    plain = tensor.detach().cpu().contiguous().view(-1)
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
