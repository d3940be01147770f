"""What a detector watches, what it asks of its images, and whether it has been fitted."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from steelman import weights
from steelman.errors import InputError


class Watched(NamedTuple):
    """The modules that a detector asks and does not own: they are neither saved with it, nor moved, nor trained.

    classifier: (N, *S) to logits.  purifier: (N, *S) to the same.
    """

    classifier: nn.Module | None = None
    purifier: nn.Module | None = None

    def digests(self) -> dict[str, str]:
        """Returns the digest of each module that is there, by its name."""
        return {name: weights.digest(module) for name, module in self._asdict().items() if module is not None}


class Detector(Protocol):
    """What every detector offers: `score`, (N, C, H, W) in [0, 1] to (N,), higher where an image is more suspicious.

    name: in the catalogue.  settings: how it is made again.  fit: on clean images, and on those of one attack where it
    takes any; it returns the detector.
    """

    name: str
    settings: dict[str, object]
    watched: Watched

    def score(self, x: Tensor) -> Tensor: ...
    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> object: ...


def demand(detector: nn.Module, *fitted: Tensor) -> None:
    """Checks that a detector has been fitted.

    fitted: what fitting leaves, empty before it.
    Raises InputError if any is empty.
    """
    if any(not part.numel() for part in fitted):
        raise InputError(
            f"expected a fitted {type(detector).__name__}, got one before fitting: call fit on clean images, "
            "or load one with detectors.load"
        )


def examples(detector: nn.Module, x: Tensor, y: Tensor, attacked: Tensor | None, *, least: int = 2) -> None:
    """Checks what a detector is to be fitted on.

    Raises InputError for too few clean images, for labels that do not match them, and for attacked images of another
    shape or none at all.
    """
    name = type(detector).__name__
    if x.dim() != 4 or len(x) < least:
        raise InputError(f"expected at least {least} clean images (N, C, H, W) to fit {name} on, got {tuple(x.shape)}")
    if y.shape != x.shape[:1] or y.is_floating_point():
        raise InputError(f"expected {len(x)} integer labels to fit {name} on, got {y.dtype} of shape {tuple(y.shape)}")
    if attacked is not None and (not len(attacked) or attacked.shape[1:] != x.shape[1:]):
        raise InputError(
            f"expected attacked images (M, {', '.join(map(str, x.shape[1:]))}) to fit {name} on, "
            f"got {tuple(attacked.shape)}: give those that fooled the classifier"
        )
