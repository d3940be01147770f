"""Two straight lines around a function of one number over an interval, one below it and one above."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from steelman.bounds.graph import Box

HALVES = 8
"""Into how many equal parts either half of an interval is cut to place a line; even."""


class Lines(NamedTuple):
    """slope · v + shift, below the function and above it."""

    low_slope: Tensor
    low_shift: Tensor
    high_slope: Tensor
    high_shift: Tensor


def smooth(f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], bend: Tensor, box: Box) -> Lines:
    """Returns lines around a function that is twice differentiable.

    slope: its first derivative.  bend: the largest magnitude of its second in the box.
    Each line has the slope of the function's convex or concave envelope at the middle, as far as chords between a few
    points tell it, and is then moved until it is on its own side of the function at all points of a grid, and further
    by bend · step² / 8: between two points of a grid a function is no farther from its chord than that. So the lines
    are sound for any slope, and however the function bends.
    Source: tangents and chords by where the function is convex, Zhang et al. 2018 (CROWN), section 3.3; grid and
    remainder ours, for functions that bend more than once.
    """
    with torch.no_grad():
        middle, reach = (box.low + box.high) / 2, (box.high - box.low) / 2
        share = torch.linspace(-1, 1, 2 * HALVES + 1, dtype=middle.dtype, device=middle.device)
        share = share.view(-1, *[1] * middle.dim())
        values = f(middle + share * reach)
        flat = slope(middle)
        slopes = [_slope(values * side, flat * side, reach) * side for side in (-1, 1)]
    shifts = []
    for side, gradient in zip((-1, 1), slopes, strict=True):
        with torch.no_grad():
            gap = values - gradient * (middle + share * reach)
            where = (gap * side).argmax(0)
        point = torch.lerp(box.low, box.high, where.to(middle) / (2 * HALVES))
        remainder = bend * ((box.high - box.low) / (2 * HALVES)).square() / 8
        shifts.append(f(point) - gradient * point + side * remainder)
    return Lines(slopes[0], shifts[0], slopes[1], shifts[1])


def _slope(values: Tensor, flat: Tensor, reach: Tensor) -> Tensor:
    """The slope of the concave envelope in the middle: of the highest chord there, or `flat` where all is too near."""
    best, found = torch.full_like(flat, -torch.inf), flat
    wide = reach > 1e-4
    distances = (1, *range(2, HALVES + 1, 2))
    for left in (HALVES - distance for distance in distances):
        for right in (HALVES + distance for distance in distances):
            a, b = HALVES - left, right - HALVES
            height = (b * values[left] + a * values[right]) / (a + b)
            better = (height > best) & wide
            best = torch.where(better, height, best)
            chord = (values[right] - values[left]) * HALVES / ((a + b) * torch.where(wide, reach, 1))
            found = torch.where(better, chord, found)
    return found


def nearer(one: Lines, other: Lines, box: Box) -> Lines:
    """Returns, value by value, of two lines on either side the one that is nearer to the function in the middle."""
    middle = (box.low + box.high).detach() / 2
    found: list[Tensor] = []
    for side, start in ((-1, 0), (1, 2)):
        heights = [side * (line[start] * middle + line[start + 1]) for line in (one, other)]
        first = heights[0] <= heights[1]
        found += [torch.where(first, one[start + part], other[start + part]) for part in (0, 1)]
    return Lines(*found)


def kinked(f: Callable[[Tensor], Tensor], kinks: tuple[float, ...], box: Box) -> Lines:
    """Returns lines around a function that is straight between its kinks.

    Of the slopes between any two of the ends and the kinks inside, each line takes the one that is nearest to the
    function in the middle; it touches the function at an end or a kink, so that it is exact for its slope.
    """
    low, high = box
    points = [low, *(torch.minimum(torch.maximum(torch.full_like(low, kink), low), high) for kink in kinks), high]
    values = [f(point) for point in points]
    middle = (low + high) / 2
    slopes = []
    with torch.no_grad():
        for first in range(len(points)):
            for second in range(first):
                run = points[first] - points[second]
                wide = run > 1e-6
                slopes.append(torch.where(wide, (values[first] - values[second]) / torch.where(wide, run, 1), 0))
    found: list[Tensor] = []
    for side in (-1, 1):
        shifts = [
            side * torch.stack([(v - slope * p) * side for p, v in zip(points, values, strict=True)]).amax(0)
            for slope in slopes
        ]
        heights = torch.stack([(slope * middle + shift) * side for slope, shift in zip(slopes, shifts, strict=True)])
        best = heights.argmin(0, keepdim=True)
        found += [torch.stack(part).gather(0, best)[0] for part in (slopes, shifts)]
    return Lines(*found)
