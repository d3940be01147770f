"""What tells a model from every other: a hash of all that it holds, and its answers to a few fixed images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.keys import key_of
from steelman.victim import Victim

TOLERANCE = 1e-3
"""Of the largest logit: by so much answers of one pipeline may differ between processors and numbers of threads."""

_EACH = 2
"""Images of noise, and as many of soft shapes."""


@dataclass(frozen=True)
class Fingerprint:
    """A model's identity.

    sha256: over every weight, buffer and setting of every module in it, in hex.
    answers: its logits for a fixed batch of images.
    """

    sha256: str
    answers: tuple[tuple[float, ...], ...]

    def same(self, other: Fingerprint) -> bool:
        """Returns whether both are of one model: the hashes are equal, the answers but for rounding."""
        own, there = (np.asarray(one.answers, np.float64) for one in (self, other))
        if self.sha256 != other.sha256 or own.shape != there.shape:
            return False
        finite = np.abs(there[np.isfinite(there)])
        scale = float(finite.max()) if finite.size else 0.0
        return bool(np.allclose(own, there, rtol=0, atol=TOLERANCE * scale, equal_nan=True))

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {"sha256": self.sha256, "answers": [list(row) for row in self.answers]}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Returns what `to_dict` gave."""
        return cls(str(found["sha256"]), tuple(tuple(float(value) for value in row) for row in found["answers"]))


def fingerprint(model: nn.Module, shape: Sequence[int], holds: object = None) -> Fingerprint:
    """Returns the fingerprint of a model that takes images of a shape, (C, H, W), in [0, 1].

    Everything is hashed that a module holds (`keys.key_of`), in modules that it only watches too. What that does not
    show, as another `forward`, the answers show; a random model gives them with torch's generator seeded. The model is
    left as it was.
    holds: what is hashed, the model itself unless told.
    """
    first = next(model.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    logits: object = None
    with Victim(model, device=device), torch.no_grad(), suppress(RuntimeError, ValueError):
        logits = model(probes(shape).to(device))  # one that takes no such images has no answers
    rows = logits.double().cpu().tolist() if isinstance(logits, Tensor) and logits.dim() == 2 else []
    sha = hashlib.sha256(key_of(model if holds is None else holds).encode())
    return Fingerprint(sha.hexdigest(), tuple(map(tuple, rows)))


def probes(shape: Sequence[int]) -> Tensor:
    """Returns (4, C, H, W) in [0, 1], the same ones everywhere: noise, and soft bright shapes on black."""
    channels, height, width = shape
    draws = np.random.RandomState(0).random_sample  # its stream is frozen for good
    noise = torch.from_numpy(draws((_EACH, channels, height, width))).float()
    coarse = torch.from_numpy(draws((_EACH, channels, 4, 4))).float()
    soft = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return torch.cat([noise, (3 * soft - 1.2).clamp(0, 1)])
