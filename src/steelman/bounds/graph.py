"""What a rule sees of a node: its arguments, the sizes of one image's part, and the operation to run again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from steelman.bounds.program import WAY_OUT, Node, Program, Ref, mapped
from steelman.errors import InputError

SUMMED = 64
"""Units of rounding in a sum over all values of an image, which torch takes in blocks of blocks: twice what it is."""


class Box(NamedTuple):
    """The least and greatest values of a node, both of the node's shape."""

    low: Tensor
    high: Tensor

    @property
    def largest(self) -> Tensor:
        """The largest magnitude inside."""
        return torch.maximum(self.low.abs(), self.high.abs())


@dataclass(frozen=True, eq=False)
class Call:
    """A node that changes with the image.

    named: its arguments by name; constants are tensors, what depends on the image is a `Ref`.
    given: the nodes of the arguments that depend on the image, in order, each once for every time it stands there.
    shapes: theirs.  batch: how many images there are.  like: a tensor of the images' kind and place.
    memo: what a rule has found out once.
    """

    node: Node
    named: dict[str, object]
    given: tuple[int, ...]
    shapes: tuple[torch.Size, ...]
    batch: int
    like: Tensor
    memo: dict[str, object] = field(default_factory=dict)

    def __call__(self, *tensors: Tensor) -> Tensor:
        """Returns the operation's result with these tensors in the place of what depends on the image."""
        waiting = iter(tensors)
        named = {name: mapped(value, Ref, lambda _: next(waiting)) for name, value in self.named.items()}
        return run(self.node, named)

    def tensor(self, name: str) -> Tensor:
        """Returns a constant argument. Raises InputError if it depends on the image."""
        value = self.named[name]
        if not isinstance(value, Tensor):
            raise self.unbounded(f"with a {name} that depends on the image")
        return value

    def optional(self, name: str) -> Tensor | None:
        """Returns a constant argument, None if it was left out."""
        return None if self.named.get(name) is None else self.tensor(name)

    def number(self, name: str) -> float:
        """Returns an argument that is a number."""
        value = self.named[name]
        if not isinstance(value, int | float):
            raise self.unbounded(f"with a {name} that is no number")
        return float(value)

    def unbounded(self, why: str) -> InputError:
        """Returns the error of a node that has no bound."""
        return InputError(
            f"expected an operation with a bound, got {self.node.name} {why} in {self.node.where}: {WAY_OUT}"
        )

    @property
    def unit(self) -> float:
        """Twice the rounding error of one operation: the network's and our own."""
        return float(torch.finfo(self.dtype).eps)

    @property
    def dtype(self) -> torch.dtype:
        """Of the numbers that flow, float32 or float64."""
        return self.like.dtype

    def part(self, tensor: Tensor) -> Tensor:
        """Returns a tensor of the node's shape, or one that broadcasts to it, as (N, 1, P): one row an image."""
        return tensor.expand(self.node.shape).reshape(self.batch, 1, -1)


class OperationRule(Protocol):
    """What bounds one kind of operation.

    affine: whether its backward step loses nothing.
    box: its least and greatest values from its arguments', widened by rounding.
    noise: how far rounding carries its result at most, of the node's shape, and the constants of its backward step for
    each unit of a row's coefficient; None if neither rounds.
    back: rows (N, S, P) of coefficients of its result to those of each argument, and the constants (N, S) that are lost
    on the way, so that rows · result <= sum of new rows · arguments + constants.
    """

    @property
    def affine(self) -> bool: ...
    def box(self, call: Call, boxes: list[Box]) -> Box: ...
    def noise(self, call: Call, boxes: list[Box]) -> Tensor | None: ...
    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]: ...


class Graph:
    """A recorded network, with its constants computed again so that gradients reach the parameters."""

    def __init__(self, program: Program, x: Tensor) -> None:
        self.program = program
        self.batch = program.batch
        self._constants: dict[int, Tensor] = {}
        self.calls = {node.index: self._call(node, x) for node in program.live() if node.op is not None}

    def _call(self, node: Node, x: Tensor) -> Call:
        nodes = self.program.nodes
        given = tuple(index for index in node.refs if nodes[index].depends)
        shapes = tuple(nodes[index].shape for index in given)
        for shape in (node.shape, *shapes):
            if not shape or shape[0] % self.batch:
                raise InputError(
                    f"expected images that the network treats one by one, got {node.name} across the batch in "
                    f"{node.where}: {WAY_OUT}"
                )
        named = {name: mapped(value, Ref, self._filled) for name, value in (node.named or {}).items()}
        return Call(node, named, given, shapes, self.batch, x[:0].detach())

    def _filled(self, ref: Ref) -> Tensor | Ref:
        return ref if self.program.nodes[ref.node].depends else self._constant(ref.node)

    def _constant(self, index: int) -> Tensor:
        node = self.program.nodes[index]
        if node.value is not None:
            return node.value
        if index not in self._constants:
            named = {name: mapped(value, Ref, self._filled) for name, value in (node.named or {}).items()}
            self._constants[index] = run(node, named)
        return self._constants[index]


def run(node: Node, named: dict[str, object]) -> Tensor:
    """Returns the result of a node's operation on these arguments."""
    assert node.op is not None
    positional, by_name = [], {}
    for argument in node.op._schema.arguments:
        if argument.kwarg_only:
            by_name[argument.name] = named[argument.name]
        else:
            positional.append(named[argument.name])
    result = node.op(*positional, **by_name)
    if node.item is not None:
        result = result[node.item]
    assert isinstance(result, Tensor)
    return result


def dot(rows: Tensor, values: Tensor) -> Tensor:
    """Returns (N, S) in double precision: rows (N, S, P) · values (N, 1, P) or (1, 1, P).

    Off by at most half of SUMMED units of the sum of the terms' magnitudes.
    """
    return (rows * values).sum(-1).double()
