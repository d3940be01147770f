"""Products and mixtures of two things that depend on the image, and the largest of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from steelman.bounds.affine import narrowed, widened
from steelman.bounds.graph import SUMMED, Box, Call, dot
from steelman.bounds.program import Ref


@dataclass(frozen=True)
class Product:
    """a · b, of two that depend on the image.

    Both planes are the mean of McCormick's two: a · b lies within r(a) · r(b) of m(a) · b + m(b) · a - m(a) · m(b), m
    being the middle of an interval and r half its width.
    Source: McCormick 1976.
    """

    affine: bool = False

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        (a, b), same = boxes, call.given[0] == call.given[1]
        ends = torch.stack([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high])
        low = ends.amin(0)
        if same:
            low = torch.where((a.low < 0) & (a.high > 0), 0, torch.minimum(a.low.square(), a.high.square()))
        return widened(Box(low, ends.amax(0)), 8 * call.unit * a.largest * b.largest)

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        return (2 * SUMMED + 8) * call.unit * boxes[0].largest * boxes[1].largest

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        (a, ra), (b, rb) = (_middle(box) for box in boxes)
        lost = dot(rows.abs(), call.part(ra * rb)) - dot(rows, call.part(a * b))
        pairs = zip((b, a), call.shapes, strict=True)
        return [narrowed(rows * call.part(middle), call, shape) for middle, shape in pairs], lost


@dataclass(frozen=True)
class Mixture:
    """start + weight · (end - start), torch's lerp, any of the three a constant."""

    affine: bool = False

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        start, end, weight = self._parts(call, boxes)
        # linear in each of the three, it is largest and least at their ends; between 0 and 1 it rises with two of them
        found = [
            torch.lerp(*(part.expand(call.node.shape) for part in (a, b, w)))
            for w in weight
            for a in start
            for b in end
        ]
        every = torch.stack(found)
        return widened(Box(every.amin(0), every.amax(0)), 8 * call.unit * self._size(call, boxes))

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        return ((4 * SUMMED + 8) * call.unit * self._size(call, boxes)).expand(call.node.shape)

    def _size(self, call: Call, boxes: list[Box]) -> Tensor:
        start, end, weight = (part.largest for part in self._parts(call, boxes))
        return start + weight * (start + end)

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        start, end, weight = self._parts(call, boxes)
        (w, rw), (d, rd) = _middle(weight), _middle(Box(end.low - start.high, end.high - start.low))
        factors = {"self": 1 - w, "end": w, "weight": d}
        lost = dot(rows.abs(), call.part(rw * rd)) - dot(rows, call.part(w * d))
        found, shapes = [], iter(call.shapes)
        for (name, factor), part in zip(factors.items(), (start, end, weight), strict=True):
            if isinstance(call.named[name], Ref):
                found.append(narrowed(rows * call.part(factor), call, next(shapes)))
            else:
                lost = lost + dot(rows, call.part(factor * part.low))
        return found, lost

    def _parts(self, call: Call, boxes: list[Box]) -> list[Box]:
        waiting, found = iter(boxes), []
        for name in ("self", "end", "weight"):
            value = call.named[name]
            if isinstance(value, Ref):
                found.append(next(waiting))
            else:
                constant = torch.as_tensor(value, dtype=call.dtype, device=call.like.device)
                found.append(Box(constant, constant))
        return found


@dataclass(frozen=True)
class Largest:
    """Max pooling of two dimensions.

    Below, the window's value whose interval lies highest. Above, of two the one that is lower in the middle: the
    largest end of all, or L + sum of the chords of max(v - L, 0), L being the largest lower end; where one value is
    above all others that is the value itself.
    """

    affine: bool = False

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        return Box(call(boxes[0].low), call(boxes[0].high))

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        return (SUMMED + 8) * call.unit * call(boxes[0].largest)

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        places, outside = _windows(call)
        if "plane" not in call.memo:
            call.memo["plane"] = _plane(*(_windowed(part, call, places, outside) for part in boxes[0]))
        slopes, shift, picked = cast(tuple[Tensor, Tensor, Tensor], call.memo["plane"])
        up, down = rows.clamp_min(0), rows.clamp_max(0)
        lost = dot(up, shift[:, None])
        owner = _owners(call)
        if owner is None:
            spread = up[..., None] * slopes[:, None] + down[..., None] * picked[:, None]
            size = call.shapes[0].numel() // call.batch
            return [rows.new_zeros(*rows.shape[:2], size).index_add(2, places.flatten(), spread.flatten(2))], lost
        window = torch.div(owner, places.shape[1], rounding_mode="floor")
        up, down = (part.index_select(2, window) for part in (up, down))
        above, below = (part.flatten(1).index_select(1, owner)[:, None] for part in (slopes, picked))
        return [torch.addcmul(up * above, down, below)], lost


def _plane(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From windows (N, P, k): the upper plane's slopes and shift, and the value that is picked below."""
    floor = low.amax(-1, keepdim=True)
    over = high > floor
    slopes = torch.where(over, (high - floor) / torch.where(over, high - low, 1), 0)
    anchored = torch.where(over, low, 0)
    shift = floor[..., 0] - (slopes * anchored).sum(-1)
    inside = torch.where(over, (low + high) / 2, 0)
    flat = (slopes * inside).sum(-1) + shift >= high.amax(-1)
    picked = torch.nn.functional.one_hot((low + high).argmax(-1), low.shape[-1]).to(low)
    return torch.where(flat[..., None], 0, slopes), torch.where(flat, high.amax(-1), shift), picked


def _windowed(values: Tensor, call: Call, places: Tensor, outside: Tensor) -> Tensor:
    """(N, P, k): each result's window, -inf beyond the edge."""
    return values.reshape(call.batch, -1)[:, places].masked_fill(outside, -torch.inf)


def _windows(call: Call) -> tuple[Tensor, Tensor]:
    """(P, k), the places of each result's window in an image's values, and which of them lie beyond the edge."""
    if "windows" not in call.memo:
        call.memo["windows"] = _found_windows(call)
    return cast(tuple[Tensor, Tensor], call.memo["windows"])


def _owners(call: Call) -> Tensor | None:
    """For each of an image's values, where it stands in the windows one after another; None where they overlap."""
    if "owners" not in call.memo:
        places, outside = _windows(call)
        size = call.shapes[0].numel() // call.batch
        inside = (~outside).flatten().nonzero()[:, 0]
        owned = places.flatten()[inside]
        whole = len(owned) == size and len(owned.unique()) == size
        call.memo["owners"] = torch.empty_like(inside).scatter(0, owned, inside) if whole else None
    return cast("Tensor | None", call.memo["owners"])


def _found_windows(call: Call) -> tuple[Tensor, Tensor]:
    size, out, device = call.shapes[0], call.node.shape, call.like.device
    rows, columns = (
        torch.arange(out[2 + axis], device=device)[:, None] * _of(call, "stride", axis)
        - _of(call, "padding", axis)
        + torch.arange(_of(call, "kernel_size", axis), device=device) * _of(call, "dilation", axis)
        for axis in (0, 1)
    )
    row, column = torch.broadcast_tensors(rows[:, None, :, None], columns[None, :, None, :])
    outside = (row < 0) | (row >= size[2]) | (column < 0) | (column >= size[3])
    place = (row.clamp(0, size[2] - 1) * size[3] + column.clamp(0, size[3] - 1)).flatten(2).flatten(0, 1)
    planes = size[:2].numel() // call.batch
    start = torch.arange(planes, device=device)[:, None, None] * (size[2] * size[3])
    return (place + start).flatten(0, 1), outside.flatten(2).flatten(0, 1).repeat(planes, 1)


def _of(call: Call, name: str, axis: int) -> int:
    """One axis of an argument that torch lets be one number for both, and the kernel where it is empty."""
    value = call.named[name] or call.named["kernel_size"]
    assert isinstance(value, list | int)
    values = [value] if isinstance(value, int) else value
    found = values[axis % len(values)]
    assert isinstance(found, int)
    return found


def _middle(box: Box) -> tuple[Tensor, Tensor]:
    return (box.low + box.high) / 2, (box.high - box.low) / 2
