"""What a source holds, as `steelman data check` shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from steelman.data.images import Images
from steelman.data.sources import Source, load


@dataclass(frozen=True)
class Part:
    """One split in numbers; `sha256` is over its pixels, then its labels as little-endian int64."""

    name: str
    n: int
    counts: tuple[int, ...]
    """How many images each class has, in the order of the classes."""
    bytes: int
    """How many bytes its pixels take in memory."""
    dtype: str
    sha256: str


@dataclass(frozen=True)
class Summary:
    """A data set in numbers."""

    name: str
    shape: tuple[int, int, int]
    """The shape (C, H, W) of one image."""
    classes: tuple[str, ...]
    splits: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        """How many bytes the pixels of all splits take in memory."""
        return sum(part.bytes for part in self.splits)


def check(
    source: Source,
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    classes: Sequence[str] | None = None,
) -> Summary:
    """Returns a source in numbers, after loading all of it.

    Takes what `load` takes, and raises InputError as it does.
    """
    data = load(source, channels=channels, size=size, classes=classes)
    parts = [_part("train", data.train)] if data.train is not None else []
    return Summary(data.name, data.test.shape, data.test.classes, (*parts, _part("test", data.test)))


def _part(name: str, split: Images) -> Part:
    pixels = split.images.contiguous().numpy()
    digest = hashlib.sha256(pixels.data)
    digest.update(np.ascontiguousarray(split.labels.numpy().astype("<i8")).data)
    counts = torch.bincount(split.labels, minlength=split.num_classes)
    kind = str(pixels.dtype)
    return Part(name, len(split), tuple(counts.tolist()), pixels.nbytes, kind, digest.hexdigest())
