"""Operations that put values elsewhere and change none: views, slices, joins, padding, nearest upsampling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from steelman.bounds.graph import SUMMED, Box, Call, dot


@dataclass(frozen=True)
class Movement:
    """The rule of every operation each of whose results is one value of its arguments, or a constant."""

    affine: bool = True

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        return Box(call(*(box.low for box in boxes)), call(*(box.high for box in boxes)))

    def noise(self, call: Call, boxes: list[Box]) -> Tensor | None:
        """Returns how far rounding can carry each result."""
        fixed = _route(call).fixed
        return (
            None
            if fixed is None
            else (SUMMED * call.unit * fixed.abs()).expand(call.batch, 1, -1).view(call.node.shape)
        )

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        route = _route(call)
        lost: Tensor | float = 0.0
        if route.fixed is not None:
            lost = dot(rows, route.fixed)
        if route.straight:
            return [rows], lost
        sizes = [shape.numel() // call.batch for shape in call.shapes]
        if route.place is not None:
            moved = torch.nn.functional.pad(rows, (0, 1)).index_select(2, route.place)
        else:
            moved = rows.new_zeros(*rows.shape[:2], sum(sizes) + 1).index_add(2, route.source, rows)[..., 1:]
        return list(moved.split(sizes, 2)), lost


def repeats(call: Call) -> bool:
    """Returns whether an argument's value becomes several results."""
    return _route(call).place is None


@dataclass(frozen=True)
class _Route:
    """Where an image's values come from.

    source: (P,) for each result, the argument's value that it is, counted from 1 through all arguments; 0 a constant.
    place: (arguments' values,), for each the result that it becomes, P for none; None if one becomes several.
    fixed: the constants, as (N, 1, P); None if there is none.  straight: whether nothing moves.
    """

    source: Tensor
    place: Tensor | None
    fixed: Tensor | None
    straight: bool


def _route(call: Call) -> _Route:
    """Found by moving numbers in the place of values."""
    if "route" not in call.memo:
        call.memo["route"] = _traced(call)
    found = call.memo["route"]
    assert isinstance(found, _Route)
    return found


def _traced(call: Call) -> _Route:
    batch, start, numbers, blank = call.batch, 1, [], []
    sizes = [shape.numel() // batch for shape in call.shapes]
    inside = sum(sizes)
    for shape, size in zip(call.shapes, sizes, strict=True):
        image = torch.arange(batch, dtype=torch.float64) * inside
        numbers.append((image[:, None] + torch.arange(start, start + size, dtype=torch.float64)).view(shape))
        blank.append(torch.zeros(shape, dtype=torch.float64))
        start += size
    with torch.no_grad():
        call_here = _double(call)
        fixed = call_here(*blank).reshape(batch, -1)
        moved = (call_here(*numbers).reshape(batch, -1) - fixed).round().long()
    source = moved[0]
    own = moved - inside * torch.arange(batch)[:, None]
    if not bool(torch.where(source == 0, moved == 0, own == source).all()):
        raise call.unbounded("that mixes the images of a batch")
    return _placed(call, source, inside, bool((fixed != 0).any()))


def _double(call: Call) -> Call:
    """The same call with constants in double precision on the CPU, so that large numbers stay whole."""

    def change(value: object) -> object:
        if isinstance(value, Tensor):
            return value.detach().cpu().double() if value.is_floating_point() else value.detach().cpu()
        if isinstance(value, list):
            return [change(part) for part in value]
        return torch.device("cpu") if isinstance(value, torch.device) else value

    named = {name: change(value) for name, value in call.named.items()}
    if named.get("dtype") not in (None, call.dtype):
        raise call.unbounded(f"to {named['dtype']}, and not {call.dtype},")
    if "dtype" in named:
        named["dtype"] = torch.float64
    return replace(call, named=named)


def _placed(call: Call, source: Tensor, inside: int, filled: bool) -> _Route:
    kept = source[source > 0]
    place = None
    if len(kept.unique()) == len(kept):
        place = torch.full((inside,), len(source))
        place[kept - 1] = torch.arange(len(source))[source > 0]
    straight = len(call.given) == 1 and not filled and torch.equal(source, torch.arange(1, inside + 1))
    like = call.like
    fixed = call.part(call(*(like.new_zeros(shape) for shape in call.shapes))) if filled else None
    return _Route(source.to(like.device), None if place is None else place.to(like.device), fixed, straight)
