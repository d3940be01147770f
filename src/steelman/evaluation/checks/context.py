"""What a trust check looks at, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from steelman.attacks import AttackLike, Result
from steelman.evaluation.planning.attacker import Attacker
from steelman.evaluation.planning.attempts import Attempt, attempts
from steelman.records import Check
from steelman.threat import Threat


@dataclass(frozen=True, eq=False)
class CheckContext:
    """A seeded sample of an evaluation under one threat, when all its attacks are made.

    attacker: who knows the pipeline.  given: the model as it was handed in, its modes untouched.
    undefended: the classifier without its defence, None where there is none.
    x: (N, *S), y: (N,), indices: (N,): images that the pipeline classifies correctly, on its device.
    holds: (N,) bool, which of them survive every attack that the evaluation made.
    static: (N,) bool, which survive what was made on the bare classifier; None where there is none.
    n, kept: images of the whole evaluation, and survivors among them.
    largest: the largest class's share of the whole.  seed: of the evaluation.
    """

    attacker: Attacker
    given: nn.Module
    undefended: nn.Module | None
    threat: Threat
    x: Tensor
    y: Tensor
    indices: Tensor
    holds: Tensor
    static: Tensor | None
    n: int
    kept: int
    largest: float
    seed: int

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (x, y, indices) of some of the images; chosen: (N,) bool, or positions."""
        return self.x[chosen], self.y[chosen], self.indices[chosen.to(self.indices.device)]

    def attacked(self, attack: AttackLike, chosen: Tensor | None = None) -> Result:
        """Returns what an attack finds, made as the knowing attacker makes it, along the best way alone.

        Without a way for gradients, an attack that needs them is not made: nothing is broken.
        chosen: of the images; all unless told.
        """
        x, y, indices = (self.x, self.y, self.indices) if chosen is None else self.take(chosen)
        attempt = next(iter(attempts(self.attacker, [attack])), None)
        assert isinstance(attempt, Attempt)
        return attempt(self.attacker, x, y, indices=indices, seed=self.seed, precision="fp32")


class Finding(NamedTuple):
    """What a check says, and the attacks to make on every survivor because it found something."""

    check: Check
    escalate: tuple[AttackLike, ...] = ()
