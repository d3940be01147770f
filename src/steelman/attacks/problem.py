"""What an attack solves and what a rule sees: samples first in every tensor."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar

from torch import Tensor

from steelman.streams import Streams
from steelman.threat import Threat

S = TypeVar("S")


class Problem(NamedTuple):
    """What is to be solved, sample by sample.

    x: (N, *S), clean.  y: (N,), int64: true labels, or the wanted ones if targeted.
    threat: with one eps, or (N,) of them.  begin: (N, *S), where to start for who starts at a given image; else as x.
    """

    x: Tensor
    y: Tensor
    threat: Threat
    streams: Streams
    begin: Tensor


class Probe(NamedTuple):
    """What the victim answered at x.

    x: (N, *S), inside the threat.  logits: (N, K).  loss: (N,), higher is worse for the victim.
    grad: (N, *S), None where no rule asked for it.  k: (N,), int64: how many moves this sample has made.
    """

    x: Tensor
    logits: Tensor
    loss: Tensor
    grad: Tensor | None
    k: Tensor


class Rule(Protocol[S]):
    """How a sample moves after the victim has answered; pure arithmetic that never sees the model.

    steps: how many moves.  from_input: whether `start` gives the clean image itself.
    A state is a tensor, or a (named) tuple of states, with the samples first.
    """

    @property
    def steps(self) -> int: ...
    @property
    def from_input(self) -> bool: ...
    def start(self, problem: Problem) -> tuple[Tensor, S]: ...
    def move(self, problem: Problem, state: S, probe: Probe) -> tuple[Tensor, S]: ...


def take(tree: Any, index: Tensor) -> Any:
    """Returns the samples of a tree of tensors that an index (integers or bool) names."""
    if isinstance(tree, Tensor):
        return tree[index]
    if isinstance(tree, Threat):
        return tree.take(index)
    parts = [take(part, index) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def put(tree: Any, index: Tensor, values: Any) -> None:
    """Sets the samples that an index names to those of another tree, in place."""
    if isinstance(tree, Tensor):
        tree[index] = values
    elif isinstance(tree, Threat):
        if isinstance(tree.eps, Tensor) and tree.eps.dim():
            tree.eps[index] = values.eps
    else:
        for part, value in zip(tree, values, strict=True):
            put(part, index, value)
