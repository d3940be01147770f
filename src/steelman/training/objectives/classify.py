"""Cross-entropy on labels, with augmentation and noise; and accuracy, which judges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.errors import InputError
from steelman.streams import Streams
from steelman.training.checkpoint import Examples


@dataclass(frozen=True, kw_only=True)
class Classify:
    """Cross-entropy on labels, for (image, label) examples; judged by accuracy, on noisy images if it learns from them.

    smoothing: label smoothing in [0, 1).  shift: largest shift in pixels, up, down and sideways.
    flip: mirror half the images.  erase: side of a square, in pixels, set to a grey of its own in every image.
    noise: standard deviation of Gaussian noise that is added last, unclipped, as `Smoothed` adds it.
    Raises InputError for a noise that is none.
    Source of the noise: Cohen et al. 2019 (Certified Adversarial Robustness via Randomized Smoothing), section 3.3.
    """

    smoothing: float = 0.0
    shift: int = 0
    flip: bool = False
    erase: int = 0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise InputError(f"expected noise as a standard deviation >= 0, got {self.noise!r}: say noise=0.25")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y)."""
        x, y = batch
        return self.reading(model, self.augmented(x), y)

    def reading(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Returns the mean smoothed cross-entropy of images as they are."""
        return F.cross_entropy(model(x).float(), y, label_smoothing=self.smoothing)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy, under the same noise every time and then on clean images if it learns from noise."""
        clean = {"accuracy": accuracy(model, validation)}
        return {"noisy": accuracy(model, validation, noise=self.noise)} | clean if self.noise else clean

    def augmented(self, x: Tensor) -> Tensor:
        """Returns the images shifted, mirrored, erased and made noisy, each in its own way."""
        if self.shift:
            x = _shifted(x, self.shift)
        if self.flip:
            x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(-1), x)
        if self.erase:
            x = _erased(x, self.erase)
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        return x


def accuracy(model: nn.Module, examples: Examples, batch_size: int = 500, noise: float = 0.0) -> float:
    """Returns the share of (image, label) examples that the model gets right, in the mode that it is in.

    noise: standard deviation of Gaussian noise on each image, the same at every call.
    """
    device = next(model.parameters()).device
    right = 0
    with torch.no_grad():
        for start in range(0, len(examples), batch_size):
            places = torch.arange(start, min(start + batch_size, len(examples)))
            x, y = examples.batch(places)
            if noise:
                x = x + noise * Streams.of(0, places).normal(x)
            right += int((model(x.to(device)).argmax(1).cpu() == y).sum())
    return right / len(examples)


def _shifted(x: Tensor, most: int) -> Tensor:
    """Each image moved by its own whole number of pixels, what comes in black."""
    n, c, h, w = x.shape
    padded = F.pad(x, (most, most, most, most))
    rows = torch.randint(0, 2 * most + 1, (n, 1), device=x.device) + torch.arange(h, device=x.device)
    columns = torch.randint(0, 2 * most + 1, (n, 1), device=x.device) + torch.arange(w, device=x.device)
    picked = padded.gather(2, rows[:, None, :, None].expand(n, c, h, padded.shape[3]))
    return picked.gather(3, columns[:, None, None, :].expand(n, c, h, w))


def _erased(x: Tensor, side: int) -> Tensor:
    n, _, h, w = x.shape
    top = torch.randint(0, h - side + 1, (n, 1, 1, 1), device=x.device)
    left = torch.randint(0, w - side + 1, (n, 1, 1, 1), device=x.device)
    rows = torch.arange(h, device=x.device)[None, None, :, None]
    columns = torch.arange(w, device=x.device)[None, None, None, :]
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return torch.where(inside, torch.rand(n, 1, 1, 1, device=x.device), x)
