"""CIFAR-10 in its official binary form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from steelman.data.images import Data, Images
from steelman.errors import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The names of the classes, where `batches.meta.txt` does not give them."""

TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = "test_batch.bin"

ID = "cifar10"

_RECORD = 1 + 3 * 32 * 32


def is_cifar(folder: Path) -> bool:
    """Returns whether a folder holds any batch of CIFAR-10, in binary or, to be refused later, pickled form."""
    return any((folder / name).is_file() or (folder / name).with_suffix("").is_file() for name in (*TRAIN, TEST))


def load_cifar(folder: Path) -> Data:
    """Returns the images of a folder of binary batches, (3, 32, 32), uint8.

    A folder with `test_batch.bin` alone has no training split.
    Raises InputError for a missing or pickled batch, a file that is no whole number of records, and a label above 9.
    """
    train = [name for name in TRAIN if (folder / name).is_file()]
    missing = [name for name in ((*TRAIN, TEST) if train else (TEST,)) if not (folder / name).is_file()]
    if missing:
        pickled = any((folder / name).with_suffix("").is_file() for name in missing)
        got = "the pickled form, which could run any code" if pickled else f"none of {', '.join(missing)}"
        raise InputError(
            f"expected the batches of CIFAR-10 in {folder}, got {got}: fetch its binary version, all of it"
        )
    classes = _classes(folder / "batches.meta.txt")
    return Data(
        folder.name,
        _split([folder / name for name in train], classes, f"{folder.name} train") if train else None,
        _split([folder / TEST], classes, f"{folder.name} test"),
    )


def _classes(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return CLASSES
    names = tuple(path.read_text(encoding="utf-8", errors="replace").split())
    if len(names) != len(CLASSES):
        raise InputError(f"expected {len(CLASSES)} class names in {path}, got {len(names)}: repair or remove it")
    return names


def _split(paths: list[Path], classes: tuple[str, ...], name: str) -> Images:
    records = torch.from_numpy(np.concatenate([_records(path) for path in paths]))
    return Images(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].to(torch.int64), classes, name, id=ID)


def _records(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    raw = np.fromfile(path, np.uint8)
    if not raw.size or raw.size % _RECORD:
        raise InputError(
            f"expected whole records of {_RECORD} bytes in {path}, got {raw.size} bytes: "
            "it is truncated; fetch it again"
        )
    records = raw.reshape(-1, _RECORD)
    if (top := int(records[:, 0].max())) >= len(CLASSES):
        raise InputError(
            f"expected labels in [0, {len(CLASSES)}) in {path}, got {top}: it is not a batch of CIFAR-10, or damaged"
        )
    return records
