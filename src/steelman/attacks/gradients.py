"""How the engine asks a victim for a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from steelman.errors import InputError
from steelman.losses import Loss
from steelman.victim import Answer, Victim


class Estimator(Protocol):
    """Looks at candidates through a victim."""

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor: ...
    def answer(self, victim: Victim, x: Tensor, y: Tensor, loss: Loss) -> Answer: ...


@dataclass(frozen=True)
class Exact:
    """One pass forward, one back."""

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): the logits alone."""
        return victim.logits(x, y)

    def answer(self, victim: Victim, x: Tensor, y: Tensor, loss: Loss) -> Answer:
        """Returns logits, loss and gradient."""
        return victim.answer(x, y, loss)


@dataclass(frozen=True)
class Averaged:
    """The mean over n draws of a random victim: expectation over transformation.

    n: how many draws each look takes. A sample counts as broken by the mean of its logits.
    Source: Athalye et al. 2018 (Synthesizing robust adversarial examples), eq. 1.
    """

    n: int = 10

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"expected at least one draw, got {self.n}")

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): the mean logits."""
        return torch.stack([victim.logits(x, y) for _ in range(self.n)]).mean(0)

    def answer(self, victim: Victim, x: Tensor, y: Tensor, loss: Loss) -> Answer:
        """Returns the means of logits, loss and gradient."""
        answers = [victim.answer(x, y, loss) for _ in range(self.n)]
        grad = torch.stack([answer.grad for answer in answers if answer.grad is not None]).mean(0)
        return Answer(
            torch.stack([answer.logits for answer in answers]).mean(0),
            torch.stack([answer.loss for answer in answers]).mean(0),
            grad,
        )


exact = Exact()


def averaged(n: int = 10) -> Averaged:
    """Returns an estimator that averages n draws of a random victim (EOT)."""
    return Averaged(n)
