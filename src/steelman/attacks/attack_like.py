"""What an attack says of itself, whoever wrote it: what it asks of a model, what it finds, costs and is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from steelman.attacks.engine.estimators import Estimator
from steelman.attacks.engine.goals import Finds, Goal, Worst
from steelman.attacks.engine.problem import Asks
from steelman.keys import key_of
from steelman.norms import Radius
from steelman.progress import OnProgress
from steelman.threat import Threat
from steelman.victim import Mode


class Result(NamedTuple):
    """What an attack found for N samples.

    x: (N, *S), the candidate that was kept, inside the threat.  broken: (N,) bool, whether it fools the model (or
    reaches the target).  natural: (N,) bool, broken before any move.  margin: (N,), positive where broken.
    distance: (N,), in the ball's norm.  forwards, backwards: (N,), passes of the model spent on each sample.
    by: (N,) int64, which of the attack's parts broke it, by its place; -1 for what holds or was broken unattacked.
    """

    x: Tensor
    broken: Tensor
    natural: Tensor
    margin: Tensor
    distance: Tensor
    forwards: Tensor
    backwards: Tensor
    by: Tensor

    @property
    def accuracy(self) -> float:
        """The share of samples that are not broken."""
        return 1.0 - float(self.broken.double().mean())

    @property
    def needed(self) -> Tensor:
        """(N,): the distance of what is broken, infinite where nothing broke the sample."""
        return torch.where(self.broken, self.distance, torch.inf)


@runtime_checkable
class AttackLike(Protocol):
    """An attack, whether of ours, of several or of someone else's. `Single` answers most of it for one of your own.

    name: as reports and progress have it.  threat: what it may do.  targeted: whether the labels that it is called with
    are the classes to reach.  asks: what it asks of the model.  finds: what it looks for.
    leaves: whether it lets an image go that seems broken, so that one that fresh draws of a random model put back is
    worth attacking again with the goal `Worst()`; not where for_random() sees to that.
    learns_from_all: whether what it finds for an image depends on all the others of the call, so that it wants all.
    """

    @property
    def name(self) -> str: ...
    @property
    def threat(self) -> Threat: ...
    @property
    def targeted(self) -> bool: ...
    @property
    def asks(self) -> Asks: ...
    @property
    def finds(self) -> Finds: ...
    @property
    def leaves(self) -> bool: ...
    @property
    def learns_from_all(self) -> bool: ...

    def __call__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        *,
        seed: int = 0,
        indices: Tensor | None = None,
        begin: Tensor | None = None,
        truth: Tensor | None = None,
        slots: int | Literal["timed"] | None = None,
        mode: Mode = "eval",
        precision: str = "fp32",
        progress: OnProgress | None = None,
    ) -> Result:
        """Returns what it found; arguments and errors as of an `Attack`. What it does not know it may ignore."""
        ...

    def parts(self) -> tuple[str, ...]:
        """Returns the names of what it is made of, which a result's `by` counts; its own where it is one attack."""
        ...

    def cost(self, classes: int) -> int:
        """Returns how many backward passes an image costs that never breaks; 0 for none, or where no rule says."""
        ...

    def key(self) -> str:
        """Returns its identity: two attacks that could find different things have different ones, in any process."""
        ...

    def without_gradients(self) -> tuple[AttackLike, ...]:
        """Returns those of its parts that ask for no gradients, for a model that has none."""
        ...

    def for_random(self) -> tuple[AttackLike, ...]:
        """Returns what it is made as on a model that answers differently when it is asked twice."""
        ...

    def oblivious(self) -> AttackLike:
        """Returns what it is made as by one who does not know the defence, on the bare classifier: every step taken."""
        ...

    def at(self, eps: Radius) -> Self:
        """Returns the same attack with another radius."""
        ...

    def with_goal(self, goal: Goal) -> Self:
        """Returns the same attack with another goal; itself where it has none."""
        ...

    def through(self, gradient: Estimator) -> Self:
        """Returns the same attack asking through an estimator; one that has its own, as NES has, keeps it."""
        ...


class Single:
    """What `AttackLike` asks of an attack that is one attack, on each image by itself; for who writes one to build on.

    A dataclass built on it has to say name, threat, targeted, asks and finds, and to be called. It overrides what it
    knows better: through(…), if it asks a random model that should be averaged, and cost(…), if it asks for gradients.
    """

    @property
    def leaves(self) -> bool:
        """No: what it broke stays broken."""
        return False

    @property
    def learns_from_all(self) -> bool:
        """No: each image is attacked by itself."""
        return False

    def parts(self: AttackLike) -> tuple[str, ...]:
        """Returns its own name."""
        return (self.name,)

    def cost(self, classes: int) -> int:
        """Returns 0."""
        return 0

    def key(self) -> str:
        """Returns its type with every field."""
        return key_of(self)

    def without_gradients(self: AttackLike) -> tuple[AttackLike, ...]:
        """Returns itself, or nothing if it asks for gradients."""
        return () if self.asks is Asks.GRADIENTS else (self,)

    def for_random(self: AttackLike) -> tuple[AttackLike, ...]:
        """Returns itself."""
        return (self,)

    def oblivious(self: AttackLike) -> AttackLike:
        """Returns itself with every step taken."""
        return self.with_goal(Worst())

    def at(self, eps: Radius) -> Self:
        """Returns the same attack with another radius."""
        own: Any = self
        return replace(own, threat=own.threat.at(eps))  # type: ignore[no-any-return]

    def with_goal(self, goal: Goal) -> Self:
        """Returns itself, which has no goal."""
        return self

    def through(self, gradient: Estimator) -> Self:
        """Returns itself, which asks in its own way."""
        return self


def on_each(attack: AttackLike) -> bool:
    """Returns whether an attack is one attack on each image by itself: not several, and none that learns from all."""
    return len(attack.parts()) == 1 and not attack.learns_from_all
