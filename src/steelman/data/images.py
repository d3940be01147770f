"""Labelled images: one split, and a data set of one or two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from steelman.errors import InputError


def _unset() -> Tensor:
    return torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """Images of one split with their labels; what is defective in them is an error at construction.

    images: (N, C, H, W), uint8 in [0, 255] or float32 in [0, 1].  labels: (N,), int64 in [0, K).
    classes: K >= 2 names.  indices: (N,), int64, where each image stands in its original split, by default 0 to N - 1;
    it keys a random stream, so that an image meets the same one in every sample it is drawn into.
    id: of the data set that these images are of, where steelman knows it: what ships, and CIFAR-10, by their readers
    alone; "" otherwise. Radii, classifiers and purifiers are looked up by it, never by the name.
    Raises InputError for an empty split, another rank, dtype or range, NaN, and labels that are not integers in [0, K).
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    indices: Tensor = field(default_factory=_unset)
    id: str = ""

    def __post_init__(self) -> None:
        _check_images(self.images, self.name)
        _check_labels(self.labels, len(self.images), len(self.classes), self.name)
        _check_classes(self.classes, self.name)
        if not len(self.indices):
            object.__setattr__(self, "indices", torch.arange(len(self.images)))
        if self.indices.shape != self.labels.shape:
            raise InputError(
                f"expected {len(self.labels)} indices for {self.name}, got shape {tuple(self.indices.shape)}: "
                "give one for each image, or none"
            )

    def __repr__(self) -> str:
        return f"Images({self.name!r}, n={len(self)}, shape={self.shape}, classes={self.num_classes})"

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Returns one image, (C, H, W), float32 in [0, 1], and its label, as a torch DataLoader wants them.

        Raises IndexError past the end, which also ends a `for` loop over the images.
        """
        return _unit(self.images[index]), int(self.labels[index])

    @property
    def dataset(self) -> str:
        """The name of the data set, without that of the split."""
        return self.name.removesuffix(" test").removesuffix(" train")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of one image."""
        _, c, h, w = self.images.shape
        return c, h, w

    @property
    def num_classes(self) -> int:
        """The number K of classes."""
        return len(self.classes)

    @property
    def x(self) -> Tensor:
        """All images, (N, C, H, W), float32 in [0, 1]."""
        return _unit(self.images)

    @property
    def y(self) -> Tensor:
        """All labels, (N,), int64 in [0, K)."""
        return self.labels

    def batch(self, indices: Tensor | Sequence[int] | slice) -> tuple[Tensor, Tensor]:
        """Returns the chosen images, (B, C, H, W), float32 in [0, 1], and their labels, (B,).

        indices: positions in this split (not `self.indices`), in any order.
        """
        chosen = indices if isinstance(indices, (slice, Tensor)) else torch.as_tensor(indices, dtype=torch.int64)
        return _unit(self.images[chosen]), self.labels[chosen]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields all images in order, `size` at a time, as `batch` returns them; the last batch may be smaller.

        Raises InputError for a size below 1.
        """
        if size < 1:
            raise InputError(f"expected a batch of at least 1 image, got {size}: say batches(256)")
        return (self.batch(slice(start, start + size)) for start in range(0, len(self), size))

    def take(self, positions: Tensor) -> Images:
        """Returns the split of the images at these positions, (M,), int64, in their order."""
        return replace(
            self, images=self.images[positions], labels=self.labels[positions], indices=self.indices[positions]
        )

    def sample(self, n: int, seed: int) -> Images:
        """Returns n images drawn without replacement, in their original order; a smaller n gives a subset of a larger.

        The draw depends on the seed and on the length alone, and leaves torch's global generator as it was.
        Raises InputError unless 1 <= n <= N.
        """
        if not 1 <= n <= len(self):
            raise InputError(f"expected a sample of 1 to {len(self)} images of {self.name}, got {n}: ask for fewer")
        return self.take(self._shuffled(seed)[:n].sort().values)

    def split(self, val: float, seed: int) -> tuple[Images, Images]:
        """Returns (kept, val): two splits that share no image, each in its original order, as for validation.

        val: how many images are held out, or their share as a float inside (0, 1).
        Raises InputError where either would be empty.
        """
        n = round(val * len(self)) if isinstance(val, float) and 0 < val < 1 else val
        if not 1 <= n < len(self) or n != int(n):
            raise InputError(
                f"expected a share inside (0, 1) or a number from 1 to {len(self) - 1} to hold out of {self.name}, "
                f"got {val}: leave images on both sides"
            )
        order = self._shuffled(seed)
        return self.take(order[int(n) :].sort().values), self.take(order[: int(n)].sort().values)

    def _shuffled(self, seed: int) -> Tensor:
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Data:
    """A data set: the images a model is measured on, and those it may be trained on where there are any."""

    name: str
    train: Images | None
    test: Images

    def split(self, seed: int) -> tuple[Images, Images]:
        """Returns (kept, val): the training images but for 1/12, which only validate, and those.

        Raises InputError if the data set has none to train on.
        """
        if self.train is None:
            raise InputError(
                f"expected training images in {self.name}, got a test split alone: give a folder with train and test"
            )
        return self.train.split(1 / 12, seed)

    @property
    def id(self) -> str:
        """Which data set that steelman knows these images are of, "" for any other."""
        return self.test.id


def _unit(images: Tensor) -> Tensor:
    return images if images.is_floating_point() else images.to(torch.float32) / 255


def _check_images(images: Tensor, name: str) -> None:
    if images.dtype not in (torch.uint8, torch.float32):
        raise InputError(
            f"expected images of uint8 or float32 in {name}, got {images.dtype}: "
            "convert them to uint8 in [0, 255] or float32 in [0, 1]"
        )
    if images.dim() != 4:
        raise InputError(
            f"expected images of shape (N, C, H, W) in {name}, got {tuple(images.shape)}: reshape or stack them"
        )
    if not images.numel():
        raise InputError(f"expected at least one image in {name}, got shape {tuple(images.shape)}: give some images")
    if images.dtype == torch.uint8:
        return
    low, high = (float(v) for v in images.aminmax())
    if not torch.isfinite(images).all():
        raise InputError(f"expected finite pixels in {name}, got NaN or infinity: repair or drop those images")
    if high > 1:
        raise InputError(
            f"expected images in [0, 1] in {name}, got a maximum of {high}: divide by 255, or give uint8 images"
        )
    if low < 0:
        raise InputError(
            f"expected images in [0, 1] in {name}, got a minimum of {low}: "
            "undo the normalisation; it belongs in the model"
        )


def _check_classes(classes: Sequence[str], name: str) -> None:
    if len(classes) < 2:
        raise InputError(
            f"expected at least 2 classes in {name}, got {len(classes)} ({', '.join(classes)}): "
            "add the other classes, or name them all with classes="
        )
    if len(set(classes)) < len(classes):
        twice = sorted({c for c in classes if list(classes).count(c) > 1})
        raise InputError(f"expected different class names in {name}, got {', '.join(twice)} twice: rename one")


def _check_labels(labels: Tensor, n: int, classes: int, name: str) -> None:
    if labels.dtype != torch.int64:
        raise InputError(f"expected labels of int64 in {name}, got {labels.dtype}: give the index of each class")
    if labels.shape != (n,):
        raise InputError(
            f"expected {n} labels of shape ({n},) in {name}, got shape {tuple(labels.shape)}: give one for each image"
        )
    low, high = (int(v) for v in labels.aminmax())
    if low < 0 or high >= classes:
        raise InputError(
            f"expected labels in [0, {classes}) in {name}, got {low if low < 0 else high}: "
            "number the classes from 0, or name them all with classes="
        )
