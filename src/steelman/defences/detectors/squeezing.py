"""Feature squeezing: a clean image is read alike with fewer grey levels or smoothed."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from steelman.defences import input_checks
from steelman.defences.detectors.watched import Watched, examples
from steelman.defences.transforms import BitDepth, MedianSmoothing


class FeatureSqueezing(nn.Module):
    """The largest L1 distance, in [0, 2], between how an image is read and how it is read squeezed.

    bits: of each grey level that are kept.  median: side of the window that it is smoothed over.
    The gradient goes through the grey levels as if they were all there.
    Source: Xu, Evans & Qi 2018, section 5 (joint detection); one bit and 2×2 are its best for MNIST.
    """

    name = "feature-squeezing"

    def __init__(self, classifier: nn.Module, bits: int = 1, median: int = 2) -> None:
        super().__init__()
        self.settings: dict[str, object] = {"bits": bits, "median": median}
        self.watched = Watched(classifier)
        self.squeezers = nn.ModuleList([BitDepth(bits), MedianSmoothing(median)])

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        input_checks.check(self, x)
        assert self.watched.classifier is not None
        views = torch.cat([x, *(squeezed(x) for squeezed in self.squeezers)])
        read = self.watched.classifier(views).float().softmax(1).unflatten(0, (len(self.squeezers) + 1, len(x)))
        out: Tensor = (read[1:] - read[:1]).abs().sum(2).amax(0)
        return out

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Returns itself: there is nothing to fit."""
        examples(self, x, y, attacked)
        return self
