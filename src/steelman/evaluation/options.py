"""What an evaluation is asked for: how it is made, and a pipeline beside the classifier that it defends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from steelman.registry import qualified


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How an evaluation is made.

    seed: of everything that draws.
    batch: images that are worked on, and journaled, together; it changes no verdict.
    each: make every attack on every image, for a row of its own.
    certify, curve, check: whether to try proofs, other radii, and the trust checks that ship.
    extra_checks: further trust checks, plug-ins by name or functions of a `CheckContext`.
    pictures: how many images of each kind to keep for the report.
    """

    seed: int = 0
    batch: int = 250
    each: bool = False
    certify: bool = True
    curve: bool = True
    check: bool = True
    extra_checks: tuple[str | Callable[..., object], ...] = ()
    pictures: int = 4

    def deciding(self) -> dict[str, Any]:
        """Returns those that decide what is found, as JSON values: all but how much of it is drawn."""
        found = {name: value for name, value in vars(self).items() if name != "pictures"}
        named = [
            each if isinstance(each, str) else qualified(getattr(each, "made", each)) for each in self.extra_checks
        ]
        return found | {"extra_checks": named}


@dataclass(frozen=True, eq=False)
class Defended:
    """A pipeline beside the classifier that one attacks who does not know of its defence, where it does not say itself.

    pipeline: from [0, 1] images to logits; a `Pipeline` where it is to bear a name.  undefended: the classifier alone.
    """

    pipeline: nn.Module
    undefended: nn.Module | None
