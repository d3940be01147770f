"""What decides the results of a run: one of other values is another run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steelman.attacks import AttackLike
from steelman.data import Images
from steelman.pipeline import Fingerprint, Pipeline, wrapped
from steelman.version import VERSION


def identity(
    pipeline: Pipeline,
    undefended: nn.Module | None,
    images: Images,
    attacks: Sequence[AttackLike],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the identity of a run, as JSON values.

    A surrogate on which an attack is made belongs to it as the pipeline does.
    """
    surrogates = {id(one): one for attack in attacks for one in _modules(attack)}.values()
    return {
        "classes": list(images.classes),
        "pipeline": _fingerprint(pipeline, images),
        "undefended": None if undefended is None else _fingerprint(undefended, images),
        "surrogates": [_fingerprint(one, images) for one in surrogates],
        "images": of_tensor(images.images),
        "labels": of_tensor(images.labels),
        "places": of_tensor(images.indices),
        "attacks": [attack.key() for attack in attacks],
        "options": dict(options),
        "steelman": VERSION,
        "torch": str(torch.__version__),
    }


def same(own: Any, there: Any) -> bool:
    """Returns whether two values of an identity are the same: fingerprints within rounding, everything else exactly."""
    if _is_fingerprint(own) and _is_fingerprint(there):
        return Fingerprint.from_dict(own).same(Fingerprint.from_dict(there))
    if isinstance(own, list) and isinstance(there, list) and len(own) == len(there):
        return all(same(*pair) for pair in zip(own, there, strict=True))
    return bool(own == there)


def digests(images: Images) -> list[str]:
    """Returns a SHA-256, in hex, of each image and the name of its class, whether it came as bytes or as floats."""
    named = zip(images.x, images.labels.tolist(), strict=True)
    return [hashlib.sha256(f"{of_tensor(x)} {images.classes[label]}".encode()).hexdigest() for x, label in named]


def of_tensor(tensor: Tensor) -> str:
    """Returns a SHA-256, in hex, of a tensor's shape, type and bytes."""
    sha = hashlib.sha256(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
    sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def _fingerprint(model: nn.Module, images: Images) -> dict[str, Any]:
    return wrapped(model).fingerprint(images.shape).to_dict()


def _is_fingerprint(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"sha256", "answers"}


def _modules(value: object) -> Iterator[nn.Module]:
    """The networks that an attack holds."""
    if isinstance(value, nn.Module):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (found for field in fields(value) for found in _modules(getattr(value, field.name)))
    elif isinstance(value, list | tuple):
        yield from (found for one in value for found in _modules(one))
