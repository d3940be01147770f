"""What makes an attack the one that it is, as a text that is the same in every process."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from steelman.weights import digest


def key_of(thing: Any) -> str:
    """Returns a text that holds everything of an attack, or of a part of one, by which its results could differ.

    Dataclasses by their fields, tensors and networks by a digest of their values, functions by where they stand;
    functions without a name that others could import by what they do and what they hold.
    """
    if isinstance(thing, Enum | str | int | float | bytes | type(None) | torch.dtype | torch.device):
        return repr(thing)
    if isinstance(thing, Tensor):
        return f"tensor({tuple(thing.shape)}, {thing.dtype}, {_sha(_bytes(thing))})"
    if isinstance(thing, nn.Module):
        return f"{_place(type(thing))}({_sha(f'{thing}{digest(thing)}'.encode())})"
    if isinstance(thing, Mapping):
        return f"{{{', '.join(sorted(f'{key_of(name)}: {key_of(value)}' for name, value in thing.items()))}}}"
    if isinstance(thing, set | frozenset):
        return f"{{{', '.join(sorted(map(key_of, thing)))}}}"
    if isinstance(thing, list | tuple):
        return f"({', '.join(map(key_of, thing))})"
    return _of_function(thing) or _of_object(thing)


def _of_function(thing: Any) -> str:
    """The key of what is called, "" for anything else."""
    if isinstance(thing, type | BuiltinFunctionType):
        return _place(thing)
    if isinstance(thing, MethodType):
        return f"{key_of(thing.__self__)}.{thing.__name__}"
    if isinstance(thing, functools.partial):
        return f"partial({key_of((thing.func, thing.args, thing.keywords))})"
    if not isinstance(thing, FunctionType):
        return ""
    if "<" not in thing.__qualname__ and thing.__module__ != "__main__":
        return _place(thing)
    held = [cell.cell_contents for cell in thing.__closure__ or ()]
    inside = key_of((held, thing.__defaults__, thing.__kwdefaults__))
    return f"{_place(thing)}({_sha((_code(thing.__code__) + inside).encode())})"


def _of_object(thing: Any) -> str:
    """A dataclass by its fields, and anything else by all that it holds."""
    if is_dataclass(thing):
        values: Mapping[str, Any] = {field.name: getattr(thing, field.name) for field in fields(thing)}
    else:
        values = dict(sorted(getattr(thing, "__dict__", {}).items()))
    return f"{_place(type(thing))}({', '.join(f'{name}={key_of(value)}' for name, value in values.items())})"


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
    return hashlib.sha256(content).hexdigest()[:16]
