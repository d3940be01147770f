"""Where images come from: one `load` for what ships and for a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from steelman.data.arrays import from_dataset, from_tensors, load_npz
from steelman.data.cifar import ID as CIFAR10
from steelman.data.cifar import is_cifar, load_cifar
from steelman.data.folders import load_folder
from steelman.data.images import Data, Images
from steelman.data.shipped import SHIPPED, load_shipped
from steelman.errors import InputError, unknown

KNOWN = (*SHIPPED, CIFAR10)
"""Data sets that have an id."""

Source = str | Path | tuple[Tensor, Tensor] | Dataset[Any] | Images | Data


def load(
    source: Source,
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    classes: Sequence[str] | None = None,
    like: str | None = None,
) -> Data:
    """Returns the data set that a source holds; one without a training part has it in `test` alone.

    source: "mnist" or "fashion-mnist"; a folder with one sub-folder of images for each class, perhaps under `train` and
    `test`; a folder of CIFAR-10's binary batches; an .npz file with `images` and `labels`; a pair (images, labels) of
    tensors; a torch Dataset of (image, label); `Images` or `Data` themselves.  A shipped name wins over a path
    of the same name.
    channels: 1 turns colour into grey, 3 repeats grey; without it images stay as they are.
    size: (H, W) that a folder's images are resized to.
    classes: the names of the classes, in the order of the labels.
    like: "mnist", "fashion-mnist" or "cifar10", for images of one's own that are such; its radii, classifier and
    purifiers then serve by default, as they never do because of a folder's name.
    Raises InputError for an unknown name, a missing path and whatever is defective in the images or labels.
    """
    if channels not in (None, 1, 3):
        raise InputError(f"expected 1 or 3 channels, got {channels}: say channels=1 for grey or channels=3 for colour")
    if size is not None and (len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size)):
        raise InputError(f"expected a size of two positive integers, got {size}: say size=(H, W)")
    data = _read(source, channels, size, None if classes is None else tuple(classes))
    if like is not None and like not in KNOWN:
        raise unknown("data set that steelman knows", like, KNOWN)
    if like is not None and data.id not in ("", like):
        raise InputError(f"expected images of one's own to be like {like}, got {data.id} itself: leave like out")
    train, test = (
        None if split is None else replace(_finished(split, channels, size, classes), id=like or data.id)
        for split in (data.train, data.test)
    )
    assert test is not None
    return Data(data.name, train, test)


def _read(source: Source, channels: int | None, size: tuple[int, int] | None, classes: tuple[str, ...] | None) -> Data:
    if isinstance(source, Data):
        return source
    if isinstance(source, Images):
        return Data(source.name, None, source)
    if isinstance(source, (str, Path)):
        return _read_path(source, channels, size, classes)
    if isinstance(source, tuple):
        if len(source) != 2 or not all(isinstance(part, Tensor) for part in source):
            kinds = ", ".join(type(part).__name__ for part in source)
            raise InputError(f"expected a pair of tensors (images, labels), got ({kinds}): convert them to tensors")
        return Data("tensors", None, from_tensors(*source, classes, "tensors"))
    if isinstance(source, Dataset):
        name = type(source).__name__
        return Data(name, None, from_dataset(source, classes, name))
    raise InputError(
        f"expected a name, a path, a pair of tensors or a torch Dataset, got {type(source).__name__}: give one of these"
    )


def _read_path(
    source: str | Path, channels: int | None, size: tuple[int, int] | None, classes: tuple[str, ...] | None
) -> Data:
    if isinstance(source, str) and source in SHIPPED:
        return load_shipped(source)
    path = Path(source)
    if path.is_dir():
        return load_cifar(path) if is_cifar(path) else load_folder(path, channels, size, classes)
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise InputError(f"expected a folder of images or an .npz file, got the file {path}: give one of these")
        return Data(path.stem, None, load_npz(path, classes))
    if isinstance(source, str) and len(path.parts) == 1 and not path.suffix:
        raise unknown("data set", source, SHIPPED)
    raise InputError(f"expected a folder of images or an .npz file, got {path}, which does not exist: check the path")


def _finished(
    split: Images, channels: int | None, size: tuple[int, int] | None, classes: Sequence[str] | None
) -> Images:
    """Returns the split with the channels and classes asked for, where its reader has not already seen to them."""
    if size is not None and split.shape[1:] != tuple(size):
        raise InputError(
            f"expected images of {size[0]}x{size[1]} in {split.name}, got {split.shape[1]}x{split.shape[2]}: "
            "only a folder's images are resized; resize these before"
        )
    if classes is not None and tuple(classes) != split.classes:
        split = replace(split, classes=tuple(classes))
    if channels is None or split.shape[0] == channels:
        return split
    return replace(split, images=_with_channels(split.images, channels, split.name))


def _with_channels(images: Tensor, channels: int, name: str) -> Tensor:
    if channels == 3 and images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1).contiguous()
    if channels == 1 and images.shape[1] == 3:
        # ITU-R 601 luma, as Pillow turns a folder's colour into grey
        grey = torch.einsum("nchw,c->nhw", images.to(torch.float32), torch.tensor([0.299, 0.587, 0.114])).unsqueeze(1)
        return grey.clamp(0, 1) if images.is_floating_point() else grey.round().to(torch.uint8)
    raise InputError(
        f"expected 1 or 3 channels to turn into {channels} in {name}, got {images.shape[1]}: choose the channels before"
    )
