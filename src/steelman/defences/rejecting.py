"""A classifier that abstains where a detector is suspicious."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from steelman import weights
from steelman.defences import detectors
from steelman.defences.detectors import roc
from steelman.defences.smoothing import ABSTAINED
from steelman.errors import InputError


class Gate(nn.Module):
    """A detector and the threshold above which it rejects: (N, C, H, W) to (score - threshold) / scale, (N,)."""

    threshold: Tensor
    scale: Tensor

    def __init__(self, detector: nn.Module, threshold: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.detector = detector
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.detector.score(x)  # type: ignore[operator]
        return (score.double() - self.threshold) / self.scale


class Rejecting(nn.Module):
    """A classifier that may abstain: (N, C, H, W) in [0, 1] to logits (N, K + 1), whose last stands for no answer.

    The last logit is the largest of the others plus (score - threshold) / scale, so that it leads exactly where the
    score lies above the threshold, and one gradient leads an attacker through classifier and detector together.
    scale is the spread of the scores of clean images, so that the two speak in like units.
    Source: the construction of Carlini & Wagner 2017 (Bypassing ten detection methods), section 2.5, which multiplies
    the largest logit by 1 + score; the sum holds for logits of any sign.
    """

    abstains = True

    def __init__(self, model: nn.Module, gate: Gate) -> None:
        super().__init__()
        self.model = model
        self.gate = gate

    @property
    def threshold(self) -> float:
        """The score above which it abstains."""
        return float(self.gate.threshold)

    def forward(self, x: Tensor) -> Tensor:
        return abstaining(self.model(x), self.gate(x))

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Returns (N,), int64: the class of each image, or -1 where it abstains."""
        read: Tensor = self.model(x).argmax(1)
        return read.masked_fill(self.gate(x) > 0, ABSTAINED)

    def save(self, path: Path | str, shape: tuple[int, ...]) -> None:
        """Writes the detector and the threshold without what they watch, whose digests stand beside them.

        shape: (C, H, W) of the images.
        Raises InputError if the file cannot be written.
        """
        settings = detectors.record(self.gate.detector, shape)
        weights.write(self.gate, path, settings | {"defence": "rejecting", "model": weights.digest(self.model)})


def abstaining(logits: Tensor, over: Tensor) -> Tensor:
    """Returns logits (N, K + 1) whose last leads exactly where `over` is above 0, and one gradient leads through both.

    logits: (N, K).  over: (N,), how far a score lies above its threshold.
    """
    top = logits.amax(1)
    last = top + over.to(top)
    # where the sum rounds to a tie, or the wrong way, the decision still stands
    up, down = (torch.nextafter(top.detach(), torch.full_like(top, end)) for end in (torch.inf, -torch.inf))
    decided = torch.where(over > 0, last.detach().maximum(up), last.detach().minimum(down))
    return torch.cat([logits, (last + (decided - last).detach())[:, None]], 1)


def reject(detector: nn.Module, model: nn.Module, fpr: float = 0.05, *, validation: Tensor) -> Rejecting:
    """Returns the model that abstains above a threshold which at most a share of clean images exceeds.

    detector: fitted.  fpr: that share, inside (0, 1).
    validation: clean images (N, C, H, W) in [0, 1] that neither of them was fitted on.
    Raises InputError for another share, for no validation images, and for a detector before fitting.
    """
    scores = scored(detector, validation) if len(validation) else validation.new_zeros(0)
    at = roc.threshold(scores, fpr)
    spread = float(scores.double().std(correction=0))
    return Rejecting(model, Gate(detector, at, spread if spread > 0 else 1.0)).to(validation.device).eval()


def load(
    path: Path | str, model: nn.Module, classifier: nn.Module | None = None, purifier: nn.Module | None = None
) -> Rejecting:
    """Returns what `Rejecting.save` wrote, around the same model.

    classifier: that the detector watches, the model itself unless told.
    Raises InputError for another file, or another model, classifier or purifier.
    """
    state, settings = weights.read(path)
    if settings.get("defence") != "rejecting":
        raise InputError(f"expected a rejecting defence in {path}, got {settings.get('defence')!r}: see detectors.load")
    if settings.get("model") != weights.digest(model):
        raise InputError(f"expected the model around which {path} was made, got another: give the very same one")
    gate = Gate(detectors.remade(settings, path, model if classifier is None else classifier, purifier))
    detectors.fill(gate, state, path)
    return Rejecting(model, gate).eval()


@torch.no_grad()
def scored(detector: nn.Module, x: Tensor, batch: int = 256) -> Tensor:
    """Returns (N,): the scores of images, `batch` at a time, in evaluation mode."""
    training = detector.training
    detector.eval()
    found = torch.cat([detector.score(part) for part in x.split(batch)])  # type: ignore[operator]
    detector.train(training)
    return found
