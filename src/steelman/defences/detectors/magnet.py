"""MagNet's detectors: how much a purifier changes an image, and how much it changes the reading of it."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks
from steelman.defences.detectors.watched import Watched, examples
from steelman.errors import InputError


class ReconstructionError(nn.Module):
    """The mean of |x - purifier(x)|^p over an image's pixels.

    p: 1 or 2.
    Source: Meng & Chen 2017, section 4.2.1.
    """

    name = "reconstruction-error"

    def __init__(self, purifier: nn.Module, p: int = 2) -> None:
        super().__init__()
        if p not in (1, 2):
            raise InputError(f"expected p 1 or 2 for ReconstructionError, got {p!r}")
        self.settings: dict[str, object] = {"p": p}
        self.p = p
        self.watched = Watched(purifier=purifier)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        input_checks.check(self, x)
        assert self.watched.purifier is not None
        moved = (x - self.watched.purifier(x)).flatten(1)
        out: Tensor = (moved.abs() if self.p == 1 else moved.square()).mean(1)
        return out

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Returns itself: there is nothing to fit."""
        examples(self, x, y, attacked)
        return self


class ProbabilityDivergence(nn.Module):
    """The Jensen-Shannon divergence, in [0, log 2], of the readings of an image and of the purified one.

    temperature: that the logits are divided by, > 0; the paper takes 10 and 40.
    Source: Meng & Chen 2017, section 4.2.2.
    """

    name = "probability-divergence"

    def __init__(self, classifier: nn.Module, purifier: nn.Module, temperature: float = 10.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(f"expected a temperature > 0 for ProbabilityDivergence, got {temperature!r}")
        self.settings: dict[str, object] = {"temperature": temperature}
        self.temperature = temperature
        self.watched = Watched(classifier, purifier)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        input_checks.check(self, x)
        seen, purified = (F.log_softmax(logits / self.temperature, 1) for logits in both(self.watched, x))
        middle = ((seen.exp() + purified.exp()) / 2).log()
        return ((seen.exp() * (seen - middle)).sum(1) + (purified.exp() * (purified - middle)).sum(1)) / 2

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Returns itself: there is nothing to fit."""
        examples(self, x, y, attacked)
        return self


def both(watched: Watched, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the logits of images and of the purified ones, (N, K) each."""
    assert watched.classifier is not None
    assert watched.purifier is not None
    return watched.classifier(x).float(), watched.classifier(watched.purifier(x)).float()
