"""Functions of one number, value by value: how far they go over an interval, and straight lines around them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from steelman.bounds import lines
from steelman.bounds.graph import SUMMED, Box, Call, dot
from steelman.bounds.lines import Lines


@dataclass(frozen=True)
class Shape:
    """A function that is twice differentiable, and what must be known of it.

    slope: its derivative.  bend: the magnitude of the second one, and bends: where that has its maxima, so that over
    an interval it is largest there or at the ends.
    lowest: where it is least, falling before and rising after; None if it never falls.
    dip: how far it is below max(x, 0) at most, and never above; None for a function with limits on both sides.
    """

    f: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    bend: Callable[[Tensor], Tensor]
    bends: tuple[float, ...]
    lowest: float | None = None
    dip: float | None = None

    def largest_bend(self, box: Box) -> Tensor:
        """Returns the largest magnitude of the second derivative in a box."""
        found = torch.maximum(self.bend(box.low), self.bend(box.high))
        for point in self.bends:
            inside = (box.low <= point) & (point <= box.high)
            peak = float(self.bend(torch.tensor(point, dtype=torch.float64)))
            found = torch.where(inside, found.clamp_min(peak * 1.0001), found)
        return found


@dataclass(frozen=True)
class Smooth:
    """The rule of a smooth function; which one may depend on how it is called."""

    shape: Callable[[Call], Shape]
    affine: bool = False

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        shape, (low, high) = self.shape(call), boxes[0]
        ends = shape.f(low), shape.f(high)
        if shape.lowest is None:
            found = Box(*ends)
        else:
            valley = torch.minimum(torch.maximum(torch.full_like(low, shape.lowest), low), high)
            found = Box(shape.f(valley), torch.maximum(*ends))
        noise = 8 * call.unit * self._size(call, boxes)
        return Box(found.low - noise, found.high + noise)

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        return (SUMMED + 8) * call.unit * self._size(call, boxes)

    def _size(self, call: Call, boxes: list[Box]) -> Tensor:
        # a GELU's tail is a small difference of large numbers
        size = torch.ones_like(boxes[0].low)
        return size if self.shape(call).lowest is None else size + boxes[0].largest

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        return _through(call, rows, lambda: around(self.shape(call), boxes[0]))


@dataclass(frozen=True)
class Kinked:
    """The rule of a function that never falls and is straight between kinks: clamp and its like."""

    kinks: Callable[[Call], tuple[float, ...]]
    affine: bool = False

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        self.kinks(call)
        return Box(call(boxes[0].low), call(boxes[0].high))

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        return (SUMMED + 8) * call.unit * boxes[0].largest

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        return _through(call, rows, lambda: lines.kinked(call, self.kinks(call), boxes[0]))


@dataclass(frozen=True)
class Rectified:
    """ReLU, leaky ReLU and PReLU: above, the chord; below, that of their two straight parts nearer in the middle.

    leak: what the slope of a leaky one is called, None for ReLU.
    Source: Zhang et al. 2018 (CROWN), table 2 and the adaptive lower bounds of CROWN-Ada.
    """

    leak: str | None = None
    affine: bool = False

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        self._slope(call)
        return Box(call(boxes[0].low), call(boxes[0].high))

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        return (SUMMED + 8) * call.unit * boxes[0].largest

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        return _through(call, rows, lambda: rectified(self._slope(call), *boxes[0]))

    def _slope(self, call: Call) -> Tensor:
        """What negative values are multiplied with: a number, or PReLU's learnt ones, one for each channel."""
        if self.leak is None:
            return torch.zeros_like(call.like[:0].sum())
        value = call.named[self.leak]
        leak = value if isinstance(value, Tensor) else torch.full_like(call.like[:0].sum(), call.number(self.leak))
        if not bool(((leak >= 0) & (leak <= 1)).all()):
            raise call.unbounded("of a slope outside of [0, 1]")
        return leak


def rectified(leak: Tensor, low: Tensor, high: Tensor) -> Lines:
    """Returns lines around max(v, 0) + leak · min(v, 0), leak in [0, 1]."""
    below, above = high <= 0, low >= 0
    crossing = ~(below | above)
    run = torch.where(crossing, high - low, 1)
    chord = torch.where(crossing, (high - leak * low) / run, torch.where(below, leak, 1))
    shift = torch.where(crossing, (leak - 1) * low * (high / run), 0)
    under = torch.where(high + low > 0, 1, leak).expand_as(low)
    return Lines(torch.where(crossing, under, chord.detach()), torch.zeros_like(low), chord, shift)


def around(shape: Shape, box: Box) -> Lines:
    """Returns lines around a smooth function; over wide intervals those of its outline, where they are nearer."""
    fine = lines.smooth(shape.f, shape.slope, shape.largest_bend(box).detach(), box)
    if shape.dip is None:
        flat = torch.zeros_like(box.low)
        coarse = Lines(flat, shape.f(box.low), flat, shape.f(box.high))
    else:
        outline = rectified(torch.zeros_like(box.low[:0].sum()), *box)
        coarse = outline._replace(low_shift=outline.low_shift - shape.dip)
    return lines.nearer(fine, coarse, box)


def _through(call: Call, rows: Tensor, found: Callable[[], Lines]) -> tuple[list[Tensor], Tensor]:
    """Rows of coefficients through one of two lines, by their sign."""
    if "lines" not in call.memo:
        call.memo["lines"] = Lines(*(call.part(part) for part in found()))
    around = call.memo["lines"]
    assert isinstance(around, Lines)
    up, down = rows.clamp_min(0), rows.clamp_max(0)
    lost = dot(up, around.high_shift)
    if bool((around.low_shift != 0).any()):
        lost = lost + dot(down, around.low_shift)
    return [torch.addcmul(up * around.high_slope, down, around.low_slope)], lost


def limits(call: Call) -> tuple[float, ...]:
    """Returns the ends that a clamp holds its values between, those that it has."""
    found = (call.named.get(name) for name in ("min", "max", "min_val", "max_val"))
    ends = [end for end in found if end is not None]
    if not all(isinstance(end, int | float) for end in ends):
        raise call.unbounded("to tensors")
    return tuple(float(end) for end in ends if isinstance(end, int | float))


def gelu(call: Call) -> Shape:
    """Returns the GELU that is meant, the exact one or the one by tanh."""
    return TANH_GELU if call.named["approximate"] == "tanh" else GELU


def _normal(v: Tensor) -> Tensor:
    return torch.exp(-v.square() / 2) / math.sqrt(2 * math.pi)


def _gelu_slope(v: Tensor) -> Tensor:
    grown: Tensor = torch.special.ndtr(v) + v * _normal(v)
    return grown


GELU = Shape(
    F.gelu, _gelu_slope, lambda v: _normal(v) * (2 - v.square()).abs(), (-2.0, 0.0, 2.0), lowest=-0.7517915242, dip=0.17
)
"""x · Φ(x). Its third derivative is -φ(x) · x · (4 - x²)."""

_INNER, _CUBE = math.sqrt(2 / math.pi), 0.044715


def _tanh_gelu(v: Tensor) -> Tensor:
    return F.gelu(v, approximate="tanh")


def _tanh_gelu_slope(v: Tensor) -> Tensor:
    t = torch.tanh(_INNER * (v + _CUBE * v**3))
    return (1 + t) / 2 + v * (1 - t * t) * _INNER * (1 + 3 * _CUBE * v.square()) / 2


def _tanh_gelu_bend(v: Tensor) -> Tensor:
    t = torch.tanh(_INNER * (v + _CUBE * v**3))
    first, second = _INNER * (1 + 3 * _CUBE * v.square()), _INNER * 6 * _CUBE * v
    return ((1 - t * t) * (first + v * (second / 2 - t * first.square()))).abs()


TANH_GELU = Shape(
    _tanh_gelu, _tanh_gelu_slope, _tanh_gelu_bend, (-2.01348, 0.0, 2.01348), lowest=-0.752461422, dip=0.1702
)
"""x · (1 + tanh(√(2/π) · (x + .044715 · x³))) / 2."""


def _sigmoid_bend(v: Tensor) -> Tensor:
    s = torch.sigmoid(v)
    return s * (1 - s) * (1 - 2 * s).abs()


SIGMOID = Shape(
    torch.sigmoid,
    lambda v: torch.sigmoid(v) * torch.sigmoid(-v),
    _sigmoid_bend,
    (-math.log(2 + math.sqrt(3)), math.log(2 + math.sqrt(3))),
)

TANH = Shape(
    torch.tanh,
    lambda v: 1 - torch.tanh(v).square(),
    lambda v: 2 * torch.tanh(v).abs() * (1 - torch.tanh(v).square()),
    (-math.atanh(1 / math.sqrt(3)), math.atanh(1 / math.sqrt(3))),
)
