"""Images and labels that come as arrays: tensors, torch data sets and .npz files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from steelman.data.images import Images
from steelman.errors import InputError

_CONTENT = "arrays `images` and `labels`"
_NUMBERED = 100_000  # a label read from the wrong column must not make a billion names


def from_tensors(images: Tensor, labels: Tensor, classes: tuple[str, ...] | None, name: str) -> Images:
    """Returns a split of images (N, C, H, W) or (N, H, W) and integer labels (N,).

    Floats of any precision become float32; without names the classes are numbered.
    Raises InputError as `Images` does.
    """
    if images.is_floating_point():
        images = images.to(torch.float32)
    if images.dim() == 3:
        images = images.unsqueeze(1)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"expected integer labels in {name}, got {labels.dtype}: give the index of each class")
    labels = labels.detach().cpu().to(torch.int64)
    if classes is None:
        top = max(0, int(labels.max())) if labels.numel() else 0
        if top >= _NUMBERED:
            raise InputError(
                f"expected labels below {_NUMBERED} in {name}, where no classes are named, got {top}: "
                "number the classes from 0, or name them all with classes="
            )
        classes = tuple(str(k) for k in range(top + 1))
    return Images(images.detach().cpu().contiguous(), labels.contiguous(), classes, name)


def from_dataset(dataset: Dataset[Any], classes: tuple[str, ...] | None, name: str) -> Images:
    """Returns the split of a torch data set that yields (image tensor (C, H, W) or (H, W), label).

    The names of the classes are `classes`, or else the data set's own `classes`.
    Raises InputError for a data set without a length, items of another kind or of differing shapes,
    and as `Images` does.
    """
    if not isinstance(dataset, Sized):
        raise InputError(f"expected a data set with a length, got {type(dataset).__name__}: give a map-style Dataset")
    if not len(dataset):
        raise InputError(f"expected at least one image in {name}, got an empty data set: give some images")
    images: list[Tensor] = []
    labels: list[int] = []
    for i in range(len(dataset)):
        image, label = _item(dataset[i], i, name)
        if images and (image.shape != images[0].shape or image.dtype != images[0].dtype):
            raise InputError(
                f"expected every image of {name} to be {images[0].dtype} of shape {tuple(images[0].shape)}, "
                f"got {image.dtype} of shape {tuple(image.shape)} at index {i}: resize or convert them in the transform"
            )
        images.append(image)
        labels.append(label)
    if classes is None and getattr(dataset, "classes", None) is not None:
        classes = tuple(str(c) for c in dataset.classes)  # type: ignore[attr-defined]
    return from_tensors(torch.stack(images), torch.tensor(labels), classes, name)


def _item(item: Any, i: int, name: str) -> tuple[Tensor, int]:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise InputError(
            f"expected (image, label) from {name}, got {type(item).__name__} at index {i}: "
            "yield pairs from the data set"
        )
    image, label = item
    if not isinstance(image, Tensor):
        raise InputError(
            f"expected image tensors from {name}, got {type(image).__name__} at index {i}: "
            "add a transform to tensors in [0, 1]"
        )
    number = np.asarray(label)
    if number.size != 1 or number.dtype.kind not in "iu":
        raise InputError(
            f"expected integer labels from {name}, got {label!r} at index {i}: give the index of the class"
        )
    return image, int(number.item())


def load_npz(path: Path, classes: tuple[str, ...] | None) -> Images:
    """Returns the split in an .npz file with `images`, `labels` and perhaps `classes`; nothing in it is unpickled.

    images: (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, uint8 in [0, 255] or floats in [0, 1].
    Raises InputError for a file that is no whole .npz, misses an array or holds pickles, and as `Images` does.
    """
    arrays = _arrays(path)
    for key in ("images", "labels"):
        if key not in arrays:
            raise InputError(
                f"expected {_CONTENT} in {path}, got {', '.join(arrays) or 'no array'}: save them under these names"
            )
    images, labels = arrays["images"], arrays["labels"]
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise InputError(
            f"expected images of uint8 or floats in {path}, got {images.dtype}: "
            "save uint8 in [0, 255] or float32 in [0, 1]"
        )
    if labels.dtype.kind not in "iu":
        raise InputError(f"expected integer labels in {path}, got {labels.dtype}: save the index of each class")
    if classes is None and "classes" in arrays:
        classes = tuple(str(c) for c in arrays["classes"].ravel())
    kind = np.uint8 if images.dtype == np.uint8 else np.float32
    pixels = torch.from_numpy(np.ascontiguousarray(_channels_first(images, path), dtype=kind))
    return from_tensors(pixels, torch.from_numpy(labels.astype(np.int64)), classes, path.name)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise InputError(
                f"expected plain {_CONTENT} in {path}, got pickled objects, which could run any code: "
                "save numeric arrays of one shape"
            ) from error
        raise InputError(
            f"expected an .npz file with {_CONTENT}, got {path}, which cannot be read ({type(error).__name__}): "
            "save it again with numpy.savez"
        ) from error


def _channels_first(images: NDArray[Any], path: Path) -> NDArray[Any]:
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    raise InputError(
        f"expected images of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels in {path}, "
        f"got {images.shape}: reshape them"
    )
