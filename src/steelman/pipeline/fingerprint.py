"""What tells a model from every other: a hash of all that it holds, and its answers to a few fixed images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.victim import Victim

TOLERANCE = 1e-3
"""Of the largest logit: by so much answers of one pipeline may differ between processors and numbers of threads."""

_EACH = 2
"""Images of noise, and as many of soft shapes."""

_TORCHS = frozenset(vars(nn.Module()))
"""Attributes that every module has: its parts, which are hashed by name, its hooks and its mode."""


@dataclass(frozen=True)
class Fingerprint:
    """A model's identity.

    sha256: over every weight, buffer and setting of every module in it, in hex.
    answers: its logits for a fixed batch of images.
    """

    sha256: str
    answers: tuple[tuple[float, ...], ...]

    def same(self, other: Fingerprint) -> bool:
        """Returns whether both are of one model: the hashes are equal, the answers but for rounding."""
        own, there = (np.asarray(one.answers, np.float64) for one in (self, other))
        if self.sha256 != other.sha256 or own.shape != there.shape:
            return False
        finite = np.abs(there[np.isfinite(there)])
        scale = float(finite.max()) if finite.size else 0.0
        return bool(np.allclose(own, there, rtol=0, atol=TOLERANCE * scale, equal_nan=True))

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {"sha256": self.sha256, "answers": [list(row) for row in self.answers]}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Returns what `to_dict` gave."""
        return cls(str(found["sha256"]), tuple(tuple(float(value) for value in row) for row in found["answers"]))


def fingerprint(model: nn.Module, shape: Sequence[int], holds: object = None) -> Fingerprint:
    """Returns the fingerprint of a model that takes images of a shape, (C, H, W), in [0, 1].

    Everything is hashed that a module holds: parameters, buffers, numbers, words, functions by name, tensors, and lists
    of these, in modules that it only watches too. What none of this shows, as another `forward`, the answers show; a
    random model gives them with torch's generator seeded. The model is left as it was.
    holds: what is hashed, the model itself unless told.
    """
    first = next(model.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    sha = hashlib.sha256()
    _Walk(sha.update).value(model if holds is None else holds)
    logits: object = None
    with Victim(model, device=device), torch.no_grad(), suppress(RuntimeError, ValueError):
        logits = model(probes(shape).to(device))  # one that takes no such images has no answers
    rows = logits.double().cpu().tolist() if isinstance(logits, Tensor) and logits.dim() == 2 else []
    return Fingerprint(sha.hexdigest(), tuple(map(tuple, rows)))


def probes(shape: Sequence[int]) -> Tensor:
    """Returns (4, C, H, W) in [0, 1], the same ones everywhere: noise, and soft bright shapes on black."""
    channels, height, width = shape
    draws = np.random.RandomState(0).random_sample  # its stream is frozen for good
    noise = torch.from_numpy(draws((_EACH, channels, height, width))).float()
    coarse = torch.from_numpy(draws((_EACH, channels, 4, 4))).float()
    soft = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return torch.cat([noise, (3 * soft - 1.2).clamp(0, 1)])


class _Walk:
    """Goes through all that a value holds and hands it on as bytes; what was met before, by its number."""

    def __init__(self, update: Callable[[bytes], None]) -> None:
        self._update = update
        self._met: dict[int, int] = {}
        self._kept: list[object] = []  # while a walk lasts, no two objects may bear one id

    def value(self, value: object) -> None:
        """Hands on one value."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | torch.dtype):
            self._say(type(value).__name__, value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            self._say("array", value.dtype)
            self.value(value.tolist())
        elif id(value) in self._met:
            self._say("again", self._met[id(value)])
        else:
            self._met[id(value)] = len(self._met)
            self._kept.append(value)
            self._object(value)

    def _object(self, value: object) -> None:
        if isinstance(value, nn.Module):
            self._say("module", type(value).__qualname__)
            own = {name: held for name, held in vars(value).items() if name not in _TORCHS}
            self._named({**value._parameters, **value._buffers, **value._modules, **own})
        elif isinstance(value, Mapping):
            self._named(value)
        elif isinstance(value, list | tuple):
            self._say("sequence", len(value))
            for held in value:
                self.value(held)
        elif isinstance(value, Set):
            self._say("set", *sorted(map(repr, value)))
        elif isinstance(value, partial):
            self.value(("partial", value.func, value.args, value.keywords))
        elif isinstance(value, MethodType):
            self.value(("method", value.__func__, value.__self__))
        elif isinstance(value, FunctionType):
            self.value(("function", value.__qualname__, value.__defaults__, value.__kwdefaults__, _closed(value)))
        elif is_dataclass(value) and not isinstance(value, type):
            self.value((type(value).__qualname__, vars(value)))
        else:
            self._say("object", getattr(value, "__qualname__", type(value).__qualname__))

    def _named(self, parts: Mapping[Any, object]) -> None:
        self._say("mapping", len(parts))
        for key, held in sorted(parts.items(), key=lambda item: repr(item[0])):
            self.value(key)
            self.value(held)

    def _tensor(self, tensor: Tensor) -> None:
        self._say("tensor", tuple(tensor.shape), tensor.dtype)
        content = tensor.detach().cpu().contiguous().view(-1)
        self._update(content.view(torch.uint8).numpy().tobytes() if content.numel() else b"")

    def _say(self, *words: object) -> None:
        self._update(f"{words!r}\n".encode())


def _closed(function: FunctionType) -> list[object]:
    """What a function took along from where it was made."""
    found: list[object] = []
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # an empty cell
            found.append(cell.cell_contents)
    return found
