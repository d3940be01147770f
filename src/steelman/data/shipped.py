"""The data sets that ship inside the package, decoded and checked against their published form."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from steelman.data.codec import Bytes, Coded, decode
from steelman.data.images import Data, Images
from steelman.errors import InputError, unknown

TRAIN, TEST, SIDE = 60_000, 10_000, 28
STREAMS, LANES = 2, 7_000
"""A file holds two streams, one for each half of its images, decoded side by side, 7,000 images at a time."""

FOLDER = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Shipped:
    """What is known of a data set that ships: names, licence, source, and the SHA-256 of its four raw IDX files."""

    name: str
    title: str
    classes: tuple[str, ...]
    licence: str
    source: str
    sha256: tuple[str, str, str, str]
    """Of train images, train labels, test images and test labels, each with its IDX header."""
    train: int = TRAIN
    test: int = TEST
    shape: tuple[int, int, int] = (1, SIDE, SIDE)

    @property
    def path(self) -> Path:
        """Where its file stands in the installed package."""
        return FOLDER / f"{self.name}.npz"


# what numpy and zipfile raise on a truncated or overwritten archive
_DAMAGES = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

SHIPPED = MappingProxyType(
    {
        "mnist": Shipped(
            "mnist",
            "MNIST, handwritten digits",
            tuple("0123456789"),
            "CC BY-SA 3.0",
            "Y. LeCun, C. Cortes, C. J. C. Burges",
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        "fashion-mnist": Shipped(
            "fashion-mnist",
            "Fashion-MNIST, articles of clothing",
            (
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            "MIT",
            "Zalando Research: H. Xiao, K. Rasul, R. Vollgraf 2017",
            (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
    }
)
"""The data sets that ship, by name."""


def datasets() -> tuple[Shipped, ...]:
    """Returns what ships, in the order of the catalogue."""
    return tuple(SHIPPED.values())


def load_shipped(name: str) -> Data:
    """Returns a data set that ships, whole: 60,000 training and 10,000 test images, (1, 28, 28), uint8.

    Raises InputError for an unknown name, and for a file that is missing, truncated or changed.
    """
    if name not in SHIPPED:
        raise unknown("data set", name, SHIPPED)
    about = SHIPPED[name]
    images, labels = _read(about.path)
    parts = (images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:])
    for part, expected in zip(parts, about.sha256, strict=True):
        got = idx_digest(part)
        if got != expected:
            raise _damaged(about.path, f"SHA-256 {expected}", got)
    pixels, classes = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))
    return Data(
        name,
        Images(pixels[:TRAIN], classes[:TRAIN], about.classes, f"{name} train", id=name),
        Images(pixels[TRAIN:], classes[TRAIN:], about.classes, f"{name} test", id=name),
    )


def idx_digest(array: Bytes) -> str:
    """Returns the SHA-256, in hexadecimal, of an array's raw IDX file: its header, then its bytes."""
    header = np.array([0x800 + array.ndim, *array.shape], ">u4")
    digest = hashlib.sha256(header.tobytes())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read(path: Path) -> tuple[Bytes, Bytes]:
    """Returns the images, (70000, 28, 28), and labels, (70000,), of a shipped file, not yet checked."""
    rounds = (TRAIN + TEST) // (STREAMS * LANES)
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            streams = [Coded(*(file[f"{field}{i}"] for field in Coded._fields)) for i in range(STREAMS)]
            labels: Bytes = file["labels"]
        with ThreadPoolExecutor(STREAMS) as pool:
            halves = list(pool.map(lambda coded: decode(coded, SIDE, SIDE, rounds), streams))
        return np.concatenate(halves), labels
    except FileNotFoundError as error:
        raise _damaged(path, "a file", "none") from error
    except _DAMAGES as error:
        raise _damaged(path, "the data set as it was packed", f"{type(error).__name__} on reading it") from error


def _damaged(path: Path, expected: str, got: str) -> InputError:
    return InputError(f"expected {expected} in {path}, got {got}: the installed file is damaged; reinstall steelman")
