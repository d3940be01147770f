"""Where linear bounds can tighten a node's box, and where that has nothing to gain."""

from __future__ import annotations

from steelman.bounds.affine import Average, Convolution, Linear, Scale, Sum
from steelman.bounds.graph import Graph
from steelman.bounds.movement import Movement, repeats
from steelman.bounds.products import Largest
from steelman.bounds.region import Region
from steelman.bounds.rules import rule as rule_of


def is_loose(graph: Graph, region: Region, index: int) -> bool:
    """Returns whether linear bounds back to the image can be tighter than a node's box from its arguments' boxes.

    Not for the image, nor for the values of an activation, whose ends come from the ends of its argument; nor, of an
    Linf ball, behind the first operation that sums values: there the box is exact.
    """
    if index == 0 or not _behind_sums(graph, index):
        return False
    return not region.threat.ball.entrywise or _sums(graph, index) > 1


def _behind_sums(graph: Graph, index: int) -> bool:
    """Whether a node is an affine operation's result or a pooled one, moved or not."""
    while index:
        call = graph.calls[index]
        rule = rule_of(call)
        if not isinstance(rule, Movement) or len(call.given) != 1:
            return rule.affine or isinstance(rule, Largest)
        index = call.given[0]
    return False


def _sums(graph: Graph, index: int) -> int:
    """How often values of the image are summed up to a node: 0, 1, or 2 for oftener, or for anything less simple."""
    if index == 0:
        return 0
    call = graph.calls[index]
    rule = rule_of(call)
    if len(call.given) != 1 or (isinstance(rule, Movement) and repeats(call)):
        return 2
    inside = _sums(graph, call.given[0])
    if isinstance(rule, Movement | Scale | Sum):
        return inside
    return min(2, inside + 1) if isinstance(rule, Convolution | Linear | Average) else 2
