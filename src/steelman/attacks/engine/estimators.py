"""How an attack asks a victim for a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from steelman.attacks.engine.problem import Problem
from steelman.errors import InputError
from steelman.victim import Answer, Victim

Ascend = Callable[[Tensor], Tensor]
"""From logits (N, K) to what is ascended, (N,), or to (N, C) values whose gradients are wanted."""


class Estimator(Protocol):
    """Looks at candidates through a victim.

    problem: of the samples shown, whose streams an estimate may draw from.  k: (N,), each sample's move.
    differentiates: whether it asks the victim for gradients, and not for scores alone.
    """

    @property
    def differentiates(self) -> bool: ...
    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor: ...
    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer: ...


@dataclass(frozen=True)
class Exact:
    """One pass forward, one back."""

    differentiates: ClassVar[bool] = True

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

    differentiates: ClassVar[bool] = True

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


@dataclass(frozen=True)
class Blurred:
    """The answers of the victim, and the mean of its gradients at n places around each image.

    Where gradients are shattered, so that they point nowhere a short step away, their mean over a neighbourhood still
    points downhill.

    sigma: the standard deviation of the places, in the images' units.  inner: how the victim is asked at each.
    Source: Tramèr et al. 2020 (On Adaptive Attacks), section 5 (k-Winners Take All), whose estimate it is with
    gradients for differences.
    """

    sigma: float
    n: int = 10
    inner: Estimator = field(default_factory=Exact)

    def __post_init__(self) -> None:
        if self.n < 1 or not self.sigma > 0:
            raise InputError(f"expected n >= 1 places within a sigma > 0, got {self.n} within {self.sigma}")

    @property
    def differentiates(self) -> bool:
        """Whether the inner one does."""
        return self.inner.differentiates

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): the logits at the images themselves."""
        return self.inner.look(victim, x, y)

    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer:
        """Returns logits and value at the images, and the mean gradient around them."""
        low, high = problem.threat.low, problem.threat.high
        streams = problem.streams.derive("blur").derive(k)
        here = self.inner.answer(victim, problem, x, k, ascend)
        grad = here.grad.clone()
        for turn in range(1, self.n):
            near = (x + self.sigma * streams.derive(turn).normal(x)).clamp(low, high)
            grad += self.inner.answer(victim, problem, near, k, ascend).grad
        return here._replace(grad=grad / self.n)


@dataclass(frozen=True, eq=False)
class Borrowed:
    """The answers of the victim, and the gradient of a stand-in at the same place.

    It is for a victim whose own gradient misleads: every verdict is still the victim's.
    stand_in: a model of the same images and classes.  called: its name in the record.  n: answers that are averaged.
    Source: Athalye et al. 2018 (Obfuscated gradients), section 4.1 (BPDA), for a whole model.
    """

    stand_in: Callable[[Tensor], Tensor]
    called: str
    n: int = 1

    differentiates: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"Borrowed({self.called!r}, n={self.n})"

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): the victim's logits, their mean over n answers."""
        return averaged(self.n).look(victim, x, y)

    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer:
        """Returns the victim's logits and value, and the stand-in's gradient."""
        logits = self.look(victim, x, problem.y)
        with victim.beside(self.stand_in) as other:
            grad = averaged(self.n).answer(other, problem, x, k, ascend).grad
            victim.forwards, victim.backwards = other.forwards, other.backwards
        return Answer(logits, ascend(logits), grad)


exact = Exact()


def averaged(n: int = 10) -> Averaged:
    """Returns an estimator that averages n draws of a random victim (EOT)."""
    return Averaged(n)


def blurred(sigma: float, n: int = 10) -> Blurred:
    """Returns an estimator that averages gradients of n places around an image, for gradients that are shattered."""
    return Blurred(sigma, n)


def borrowed(stand_in: Callable[[Tensor], Tensor], called: str | None = None, n: int = 1) -> Borrowed:
    """Returns an estimator that takes its gradients from a stand-in."""
    return Borrowed(stand_in, called or type(stand_in).__name__, n)
