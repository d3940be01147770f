"""What an attack ascends where a loss of (logits, y) does not say it all: the step, the clean answer, a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from steelman.attacks.engine.problem import Problem
from steelman.attacks.reprs import by_name
from steelman.errors import InputError
from steelman.losses import Loss, others


@runtime_checkable
class Guide(Protocol):
    """What is ascended, and how many target classes are tried one after another, each in an attempt of its own."""

    def ascend(self, problem: Problem, k: Tensor, logits: Tensor) -> Tensor:
        """Returns (N,), higher is worse for the victim, at move k, (N,), of each sample; logits: (N, K)."""
        ...

    def targets(self, classes: int) -> int:
        """Returns how many attempts a sample takes, of a model with so many classes; 1 for no targets."""
        ...


@dataclass(frozen=True)
class Plain:
    """A loss of (logits, y), descended where y is the class to reach."""

    loss: Loss

    __repr__ = by_name

    def ascend(self, problem: Problem, k: Tensor, logits: Tensor) -> Tensor:
        """Returns (N,): the loss, or its negative if targeted."""
        return problem.sign * self.loss(logits, problem.y)

    def targets(self, classes: int) -> int:
        """Returns 1."""
        return 1


TargetLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits (N, K), y (N,), target (N,)) to (N,), higher where the target is nearer."""


@dataclass(frozen=True)
class EachTarget:
    """One wrong class after another as the target, the nearest first, for an attack that wants any of them.

    loss: of (logits, y, target).  count: how many classes; all but y, but no more than `most`, unless told.
    """

    loss: TargetLoss
    count: int | None = None
    most: int = 9

    __repr__ = by_name

    def ascend(self, problem: Problem, k: Tensor, logits: Tensor) -> Tensor:
        """Returns (N,): the loss towards the target of the sample's attempt."""
        return self.loss(logits, problem.y, self.target(problem))

    def target(self, problem: Problem) -> Tensor:
        """Returns (N,), int64: the class that the sample's attempt is after."""
        return runner_up(problem, problem.attempt % self.targets(problem.logits.shape[1]))

    def targets(self, classes: int) -> int:
        """Returns how many classes are tried.

        Raises InputError if more are asked for than there are.
        """
        if self.count is not None and not 1 <= self.count < classes:
            raise InputError(f"expected 1 to {classes - 1} targets of {classes} classes, got {self.count}")
        return self.count or min(self.most, classes - 1)


def runner_up(problem: Problem, rank: Tensor) -> Tensor:
    """Returns (N,), int64: the class of each sample's rank among those that are not y, by the clean logits.

    rank: (N,), 0 for the largest.
    """
    order = others(problem.logits, problem.y).argsort(dim=1, descending=True, stable=True)
    return order.gather(1, rank[:, None]).squeeze(1)


def guide_of(loss: Loss | Guide) -> Guide:
    """Returns a guide as it is, and a loss as a guide."""
    return loss if isinstance(loss, Guide) else Plain(loss)


def relevant(problem: Problem, logits: Tensor, most: int) -> Tensor:
    """Returns (N, C), int64: the classes besides y with the largest logits, at most `most`, the largest first."""
    count = min(most, logits.shape[1] - 1)
    picked: Tensor = torch.topk(others(logits, problem.y), count, dim=1).indices
    return picked
