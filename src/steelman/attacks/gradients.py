"""How an attack asks a victim for a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from steelman.attacks.problem import Problem
from steelman.errors import InputError
from steelman.victim import Answer, Victim

Ascend = Callable[[Tensor], Tensor]
"""From logits (N, K) to what is ascended, (N,), or to (N, C) values whose gradients are wanted."""


class Estimator(Protocol):
    """Looks at candidates through a victim.

    problem: of the samples shown, whose streams an estimate may draw from.  k: (N,), each sample's move.
    """

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor: ...
    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer: ...


@dataclass(frozen=True)
class Exact:
    """One pass forward, one back."""

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): the logits alone."""
        return victim.logits(x, y)

    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer:
        """Returns logits, value and gradient."""
        return victim.answer(x, problem.y, ascend)


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

    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer:
        """Returns the means of logits, value and gradient."""
        answers = [victim.answer(x, problem.y, ascend) for _ in range(self.n)]
        return Answer(*(torch.stack(parts).mean(0) for parts in zip(*answers, strict=True)))


exact = Exact()


def averaged(n: int = 10) -> Averaged:
    """Returns an estimator that averages n draws of a random victim (EOT)."""
    return Averaged(n)
