"""What an attack solves and what a rule sees: samples first in every tensor."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from steelman.streams import Streams
from steelman.threat import Threat

S = TypeVar("S")


class Asks(StrEnum):
    """What is asked of the model under attack; who asks for one is content with what stands before it."""

    GRADIENTS = "gradients"
    SCORES = "scores"
    DECISIONS = "decisions"
    NOTHING = "nothing"


class Problem(NamedTuple):
    """What is to be solved, sample by sample.

    x: (N, *S), clean.  y: (N,), int64: true labels, or the wanted ones if targeted.
    threat: with one eps, or (N,) of them.  begin: (N, *S), where to start for who starts at a given image; else as x.
    logits: (N, K), what the victim answers to the clean images; (N, 0) where nobody asked for it.
    attempt: (N,), int64: how many times the sample was begun before.
    """

    x: Tensor
    y: Tensor
    threat: Threat
    streams: Streams
    begin: Tensor
    logits: Tensor
    attempt: Tensor
    targeted: bool

    @property
    def sign(self) -> float:
        """What a loss of the victim at y is multiplied with so that the attacker ascends it."""
        return -1.0 if self.targeted else 1.0


class Probe(NamedTuple):
    """What the victim answered at x.

    x: (N, *S), inside the threat.  logits: (N, K).  margin: (N,), positive where broken.
    value: (N,), what is ascended, higher is worse for the victim; grad: (N, *S), its gradient. Of a rule that asks for
    gradients of its own, (N, C) and (N, C, *S); of one that asks for scores alone, grad is empty.
    k: (N,), int64: how many moves this sample has made.
    """

    x: Tensor
    logits: Tensor
    margin: Tensor
    value: Tensor
    grad: Tensor
    k: Tensor


class Rule(Protocol[S]):
    """How a sample moves after the victim has answered; pure arithmetic that never sees the model.

    steps: how many moves.  from_input: whether `start` gives the clean image itself.
    asks: SCORES for logits and the value of the loss, GRADIENTS for that of the loss too, or for those of what its own
    `heads` make of the logits where it has any.
    A state is a tensor, or a (named) tuple of states, with the samples first.
    """

    @property
    def steps(self) -> int: ...
    @property
    def from_input(self) -> bool: ...
    @property
    def asks(self) -> Asks: ...
    def start(self, problem: Problem) -> tuple[Tensor, S]: ...
    def move(self, problem: Problem, state: S, probe: Probe) -> tuple[Tensor, S]: ...


@runtime_checkable
class Headed(Protocol):
    """A rule that asks for gradients of its own."""

    def heads(self, problem: Problem, logits: Tensor) -> Tensor:
        """Returns (N, C), the values whose gradients the rule needs, from logits (N, K); C is the same for all."""
        ...


@runtime_checkable
class Stopping(Protocol):
    """A rule that may be done with a sample before all its steps."""

    def done(self, problem: Problem, state: Any, probe: Probe) -> Tensor:
        """Returns (N,) bool: which samples gain nothing from moving on."""
        ...


def take(tree: Any, index: Tensor) -> Any:
    """Returns the samples of a tree of tensors that an index (integers or bool) names."""
    if isinstance(tree, Tensor):
        return tree[index]
    if isinstance(tree, Threat):
        return tree.take(index)
    if isinstance(tree, bool):
        return tree
    parts = [take(part, index) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def put(tree: Any, index: Tensor, values: Any) -> None:
    """Sets the samples that an index names to those of another tree, in place."""
    if isinstance(tree, Tensor):
        tree[index] = values
    elif isinstance(tree, Threat):
        if isinstance(tree.eps, Tensor) and tree.eps.dim():
            tree.eps[index] = values.eps
    elif not isinstance(tree, bool):
        for part, value in zip(tree, values, strict=True):
            put(part, index, value)
