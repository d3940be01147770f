"""What an evaluation is asked for: how it is made, and a pipeline beside the classifier that it defends."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How an evaluation is made.

    seed: of everything that draws.
    batch: images that are worked on, and journaled, together; it changes no verdict.
    each: make every attack on every image, for a row of its own.
    certify, curve, check: whether to try proofs, other radii, and the trust checks.
    pictures: how many images of each kind to keep for the report.
    """

    seed: int = 0
    batch: int = 250
    each: bool = False
    certify: bool = True
    curve: bool = True
    check: bool = True
    pictures: int = 4

    def deciding(self) -> dict[str, Any]:
        """Returns those that decide what is found: all but how much of it is drawn."""
        return {name: value for name, value in asdict(self).items() if name != "pictures"}


@dataclass(frozen=True, eq=False)
class Defended:
    """A pipeline beside the classifier that one attacks who does not know of its defence, where it does not say itself.

    pipeline: from [0, 1] images to logits; a `Pipeline` where it is to bear a name.  undefended: the classifier alone.
    """

    pipeline: nn.Module
    undefended: nn.Module | None
