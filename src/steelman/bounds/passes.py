"""The two ways through a network: boxes from the image on, and linear bounds from the answer back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from steelman.bounds.activations import Rectified
from steelman.bounds.graph import SUMMED, Box, Call, Graph, OperationRule, dot
from steelman.bounds.looseness import is_loose
from steelman.bounds.region import Region
from steelman.bounds.rules import ruled

ROOM = 2**22
"""How many coefficients of one node are held at a time while intermediate bounds are tightened."""


@dataclass(frozen=True, eq=False)
class Bounded:
    """A network over a region: the graph, what bounds each node, and each node's box."""

    graph: Graph
    rules: dict[int, OperationRule]
    region: Region
    boxes: dict[int, Box]

    def given(self, call: Call) -> list[Box]:
        """Returns the boxes of what a node is computed from."""
        return [self.boxes[index] for index in call.given]


def forward(graph: Graph, region: Region, *, tighten: bool) -> Bounded:
    """Returns a network with a box for every node: interval bound propagation.

    tighten: whether what goes into an activation is bounded by linear bounds back to the image too, wherever its box
    leaves open on which piece of the activation it is.
    Source: Gowal et al. 2018, section 3; tightened, Zhang et al. 2018 (CROWN), section 3.
    """
    net = Bounded(graph, ruled(graph), region, {0: region.box})
    for index, call in graph.calls.items():
        rule = net.rules[index]
        if tighten and not rule.affine:
            for source in dict.fromkeys(call.given):
                if is_loose(graph, region, source):
                    _tighten(net, source, rule)
        net.boxes[index] = rule.box(call, net.given(call))
    return net


def backward(net: Bounded, start: int, rows: Tensor, *, whole: bool) -> Tensor:
    """Returns (N, S): an upper bound of rows · the values of a node over the region.

    rows: (N, S, P), for each image S combinations of its P values at node `start`.
    whole: whether to go back to the image; else through what is affine only, and from there on by the boxes.
    Source: Zhang et al. 2018 (CROWN), theorem 3.2 and corollary 3.3; Zhang et al. 2020 (CROWN-IBP) with boxes that come
    from intervals.
    """
    waiting = {start: rows}
    bound: Tensor = rows.new_zeros(rows.shape[:2], dtype=torch.float64)
    while waiting:
        index = max(waiting)
        rows = waiting.pop(index)
        if index == 0:
            bound = bound + net.region.greatest(rows)
            continue
        rule, call = net.rules[index], net.graph.calls[index]
        if not (whole or rule.affine):
            bound = bound + _by_box(call, net.boxes[index], rows)
            continue
        boxes = net.given(call)
        noise = _noise(rule, call, boxes)
        if noise is not None:
            bound = bound + 1.02 * (rows.detach().abs() @ noise).squeeze(-1).double()
        found, lost = rule.back(call, boxes, rows)
        bound = bound + lost
        for source, more in zip(call.given, found, strict=True):
            waiting[source] = waiting[source] + more if source in waiting else more
    return bound


def _by_box(call: Call, box: Box, rows: Tensor) -> Tensor:
    low, high = (call.part(end) for end in box)
    found = dot(rows.clamp_min(0), high) + dot(rows.clamp_max(0), low)
    return found + SUMMED * call.unit * dot(rows.detach().abs(), torch.maximum(low.abs(), high.abs()))


@torch.no_grad()
def _noise(rule: OperationRule, call: Call, boxes: list[Box]) -> Tensor | None:
    if "noise" not in call.memo:
        found = rule.noise(call, boxes)
        call.memo["noise"] = None if found is None else call.part(found).mT
    return cast("Tensor | None", call.memo["noise"])


def _tighten(net: Bounded, index: int, rule: OperationRule) -> None:
    """Bounds what an activation is still open for by linear bounds, and takes the tighter of the two."""
    source = net.graph.calls[index]
    if "tightened" in source.memo:
        return
    source.memo["tightened"] = True
    low, high = (end.reshape(source.batch, -1) for end in net.boxes[index])
    wanted = _open(rule, low, high)
    most = int(wanted.sum(1).max())
    if not most:
        return
    order = wanted.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    before = [node.node.shape.numel() for at, node in net.graph.calls.items() if at <= index]
    for places in order.split(max(1, ROOM // (2 * max(before))), 1):
        ones = torch.zeros(*places.shape, low.shape[1], dtype=low.dtype, device=low.device)
        ones.scatter_(2, places[..., None], 1.0)
        upper, lower = backward(net, index, torch.cat([ones, -ones], 1), whole=True).chunk(2, 1)
        slack = source.unit * torch.maximum(upper.abs(), lower.abs())
        least, greatest = (-lower - slack).to(low.dtype), (upper + slack).to(low.dtype)
        # an image with fewer open values than another gets no more than it would alone
        asked = wanted.gather(1, places)
        least = torch.where(asked, torch.maximum(low.gather(1, places), least), low.gather(1, places))
        greatest = torch.where(asked, torch.minimum(high.gather(1, places), greatest), high.gather(1, places))
        low, high = low.scatter(1, places, least), high.scatter(1, places, greatest)
    shape = source.node.shape
    net.boxes[index] = Box(low.view(shape), high.view(shape))


def _open(rule: OperationRule, low: Tensor, high: Tensor) -> Tensor:
    """Which values the activation is not straight over."""
    if isinstance(rule, Rectified):
        return (low < 0) & (high > 0)
    return high > low
