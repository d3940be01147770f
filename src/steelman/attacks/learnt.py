"""An attack that learns one change from all images of a call, and shows it on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from steelman.attacks.attack import Attack, found_by
from steelman.attacks.attack_like import Result, Single
from steelman.attacks.engine.estimators import Estimator, exact
from steelman.attacks.engine.goals import Break, Finds, Goal, Worst
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks, Problem
from steelman.errors import InputError
from steelman.progress import OnProgress, takes_observe
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Mode, Victim, check


class Learner(Protocol):
    """What learns one change from the samples of an oracle, and shows it on any."""

    def learn(self, oracle: Oracle) -> Tensor:
        """Returns the change; every look at the model goes through the oracle, which counts it."""
        ...

    def shown(self, change: Tensor, problem: Problem) -> Tensor:
        """Returns (N, *S): the samples of a problem under the change."""
        ...


@dataclass(frozen=True, kw_only=True, repr=False)
class Changed:
    """Shows every sample under one change that was learnt before."""

    learner: Learner
    change: Tensor

    asks: ClassVar[Asks] = Asks.NOTHING
    queries: ClassVar[None] = None

    def __repr__(self) -> str:
        return f"Changed(learner={self.learner!r}, change={tuple(self.change.shape)})"

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Looks once."""
        rows = torch.arange(len(oracle.problem.x), device=oracle.problem.x.device)
        oracle.look(rows, self.learner.shown(self.change, oracle.problem))
        tell()


@dataclass(frozen=True, kw_only=True)
class Universal(Single):
    """An attack that learns one change from all images of a call and shows it on each; called as an attack is.

    Images that are broken as they stand teach nothing, unless all are.
    What it finds for an image depends on the others of the call, by definition, though not on their order. `learnt` and
    `showing` take the two halves apart, to learn on some images and judge on others.
    """

    name: str
    threat: Threat
    learner: Learner
    targeted: bool = False
    gradient: Estimator = exact
    goal: Goal = field(default_factory=Break)

    @property
    def learns_from_all(self) -> bool:
        """Yes."""
        return True

    @property
    def asks(self) -> Asks:
        """Gradients, which its learner follows; scores alone where its estimator makes do with them."""
        return Asks.GRADIENTS if self.gradient.differentiates else Asks.SCORES

    @property
    def finds(self) -> Finds:
        """What its goal says; outside every ball where any change will do and the radius is infinite."""
        return found_by(self.goal, self.threat)

    @takes_observe
    def __call__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        *,
        seed: int = 0,
        indices: Tensor | None = None,
        slots: int | Literal["timed"] | None = None,
        mode: Mode = "eval",
        progress: OnProgress | None = None,
        **settings: Any,
    ) -> Result:
        """Returns what the change that is learnt on these images does to them; the cost of learning is in it.

        Arguments and errors as of a single attack; and InputError for an eps of each sample's own.
        """
        change, forwards, backwards = self._learn(model, x, y, seed, indices, slots, mode)
        judge = self.showing(change)
        found = judge(model, x, y, seed=seed, indices=indices, slots=slots, mode=mode, progress=progress, **settings)
        return found._replace(forwards=found.forwards + forwards, backwards=found.backwards + backwards)

    def learnt(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        *,
        seed: int = 0,
        indices: Tensor | None = None,
        slots: int | Literal["timed"] | None = None,
        mode: Mode = "eval",
    ) -> Tensor:
        """Returns the change alone, (*S) for a perturbation and (C, side, side) for a patch, learnt on these images.

        Arguments and errors as of a call.
        """
        return self._learn(model, x, y, seed, indices, slots, mode)[0]

    def showing(self, change: Tensor) -> Attack:
        """Returns the attack that shows a change learnt before, on images that it was not learnt on too."""
        rule = Changed(learner=self.learner, change=change)
        return Attack(
            name=self.name,
            threat=self.threat,
            rule=rule,
            targeted=self.targeted,
            gradient=self.gradient,
            goal=self.goal,
        )

    def with_goal(self, goal: Goal) -> Universal:
        """Returns the same attack with another goal: whether Last() shows the change on misclassified images too."""
        return replace(self, goal=goal)

    def through(self, gradient: Estimator) -> Universal:
        """Returns the same attack looking through an estimator; one that has its own keeps it."""
        return replace(self, gradient=gradient) if self.gradient == exact else self

    def _learn(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        seed: int,
        indices: Tensor | None,
        slots: int | Literal["timed"] | None,
        mode: Mode,
    ) -> tuple[Tensor, Tensor, Tensor]:
        check(x, y, low=self.threat.low, high=self.threat.high)
        eps = self.threat.eps
        if isinstance(eps, Tensor) and eps.dim():
            raise InputError(f"expected one eps for {self.name}, as all images share one change, got {len(eps)}")
        indices = torch.arange(len(x), device=x.device) if indices is None else indices.to(x.device)
        with torch.inference_mode(False), torch.no_grad():
            clean, labels = x.detach().clone(), y.detach().to(x.device, torch.int64, copy=True)
            streams, first = Streams.of(seed, indices), torch.zeros_like(labels)
            nothing = clean.new_zeros(len(x), 0)
            problem = Problem(clean, labels, self.threat, streams, clean, nothing, first, self.targeted)
            with Victim(model, mode=mode, targeted=self.targeted, seed=seed, device=x.device) as victim:
                room = slots if isinstance(slots, int) else 1024 if x.is_cuda else 128
                oracle = Oracle(victim, problem, goal=Worst(), estimator=self.gradient, slots=room)
                oracle.look_at_clean()
                holds = (~oracle.tally.natural).nonzero().squeeze(1)
                rows = holds if len(holds) else torch.arange(len(x), device=x.device)
                part = oracle.part(rows)
                change = self.learner.learn(part)
                oracle.merge(rows, part)
        return change, oracle.tally.forwards, oracle.tally.backwards


def in_order(problem: Problem, turn: int) -> Tensor:
    """Returns (N,), int64: the samples in an order that their own streams draw, however they came."""
    drawn = problem.streams.derive("order").derive(turn).bits(1).squeeze(1)
    return drawn.argsort()
