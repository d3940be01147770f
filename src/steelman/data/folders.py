"""Folders of images with one sub-folder for each class."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from steelman.data.images import Data, Images
from steelman.errors import InputError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
"""The files that are read, by the end of their name."""

_FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")


def load_folder(
    folder: Path, channels: int | None, size: tuple[int, int] | None, classes: tuple[str, ...] | None
) -> Data:
    """Returns the images of `<class>/*`, or of `train/<class>/*` and `test/<class>/*`, as uint8.

    The sub-folders sorted by name are the classes, unless `classes` orders them.  Files are taken sorted by name,
    hidden files passed over; an alpha channel is dropped.
    channels, size: as `load` takes them.
    Raises InputError for an empty class, a file that is no whole 8-bit image, and images that differ in size or
    channels.
    """
    if _folders(folder / "test") and {p.name for p in _folders(folder)} <= {"test", "train"}:
        test = _split(folder / "test", f"{folder.name} test", channels, size, classes)
        if not (folder / "train").exists():
            return Data(folder.name, None, test)
        train = _split(folder / "train", f"{folder.name} train", channels, size, classes)
        if train.classes != test.classes:
            differing = sorted(set(train.classes) ^ set(test.classes))
            raise InputError(
                f"expected the same classes under train and test in {folder}, got {', '.join(differing)} in one only: "
                "add or remove them"
            )
        if train.shape != test.shape:
            raise InputError(
                f"expected images of one shape in {folder}, got {train.shape} under train and {test.shape} under test: "
                "say size=(H, W) or channels=1 or 3"
            )
        return Data(folder.name, train, test)
    return Data(folder.name, None, _split(folder, folder.name, channels, size, classes))


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.is_dir() and not p.name.startswith("."))


def _split(
    folder: Path, name: str, channels: int | None, size: tuple[int, int] | None, classes: tuple[str, ...] | None
) -> Images:
    found = tuple(p.name for p in _folders(folder))
    if not found:
        raise InputError(
            f"expected one sub-folder of images for each class in {folder}, got none: sort the images into them"
        )
    if classes is not None and sorted(classes) != sorted(found):
        raise InputError(
            f"expected the classes {', '.join(classes)} in {folder}, got {', '.join(found)}: name each sub-folder once"
        )
    if len(found) < 2:
        raise InputError(
            f"expected at least 2 classes in {folder}, got the one sub-folder {found[0]}: "
            "give one sub-folder for each class"
        )
    order = classes or found
    files = [(path, label) for label, kind in enumerate(order) for path in _files(folder / kind)]
    first = files[0][0]
    pixels: list[Tensor] = []
    for path, _ in files:
        image = _read(path, channels, size)
        if pixels and image.shape != pixels[0].shape:
            raise _differing(first, pixels[0], path, image)
        pixels.append(image)
    return Images(torch.stack(pixels), torch.tensor([label for _, label in files]), order, name)


def _files(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    if not files:
        raise InputError(f"expected images in {folder}, got an empty class: add images to it, or remove the folder")
    for path in files:
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            raise InputError(
                f"expected only images ({', '.join(SUFFIXES)}) in {folder}, got {path.name}: move or convert it"
            )
    return files


def _read(path: Path, channels: int | None, size: tuple[int, int] | None) -> Tensor:
    """Returns one image file as (C, H, W), uint8."""
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            opened.load()
            image: Image.Image = opened
            if image.mode not in _GREY + _COLOUR:
                raise InputError(
                    f"expected an image of 8 bits a channel, got mode {image.mode} in {path}: convert it to 8 bits"
                )
            wanted = channels or (1 if image.mode in _GREY else 3)
            image = image.convert("L" if wanted == 1 else "RGB")
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise InputError(
            f"expected a whole PNG, JPEG, BMP or WebP image, got {path}, which cannot be read "
            f"({type(error).__name__}): replace or remove it"
        ) from error
    if size is not None:
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.array(image)
    return torch.from_numpy(array.reshape(*array.shape[:2], wanted)).permute(2, 0, 1).contiguous()


def _differing(first: Path, a: Tensor, second: Path, b: Tensor) -> InputError:
    if len(a) != len(b):
        kinds = {1: "grey", 3: "colour"}
        return InputError(
            f"expected all images grey or all in colour, got {kinds[len(a)]} in {first} and "
            f"{kinds[len(b)]} in {second}: "
            "say channels=1 or channels=3"
        )
    return InputError(
        f"expected images of one size, got {a.shape[1]}x{a.shape[2]} in {first} and "
        f"{b.shape[1]}x{b.shape[2]} in {second}: "
        "say size=(H, W) to resize them"
    )
