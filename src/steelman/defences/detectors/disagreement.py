"""Whether a classifier reads an image and the purified image alike."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks
from steelman.defences.detectors.magnet import both
from steelman.defences.detectors.watched import Watched, examples


class Disagreement(nn.Module):
    """Ours: the cross-entropy of the purified image's reading against the image's own, >= 0.

    It is low where both say the same class with confidence, and grows where the purified image is read as something
    else, or where the image itself is read as several classes, as near a boundary.
    """

    name = "disagreement"

    def __init__(self, classifier: nn.Module, purifier: nn.Module) -> None:
        super().__init__()
        self.settings: dict[str, object] = {}
        self.watched = Watched(classifier, purifier)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        input_checks.check(self, x)
        seen, purified = both(self.watched, x)
        return -(seen.softmax(1) * F.log_softmax(purified, 1)).sum(1)

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Returns itself: there is nothing to fit."""
        examples(self, x, y, attacked)
        return self
