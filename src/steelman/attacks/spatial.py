"""Rotations and shifts: an image turned and moved a little, as Engstrom et al. 2019 try them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from steelman.attacks.attack import Attack
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks
from steelman.attacks.settings import count
from steelman.errors import InputError
from steelman.norms import Ball, Linf
from steelman.streams import Streams
from steelman.threat import Threat

LOOKS = 64
"""The most candidates of a sample that are shown before it is asked again whether it still holds."""


@dataclass(frozen=True, kw_only=True)
class Moves:
    """Shows every sample rotated and shifted, the largest moves first, until one breaks it.

    rotation: degrees to each side.  translation: a share of the side, each way.
    grid: how many angles, and how many shifts in each direction; None for random ones.
    draws: how many random ones.
    """

    rotation: float
    translation: float
    grid: tuple[int, int] | None
    draws: int

    asks: ClassVar[Asks] = Asks.DECISIONS
    queries: ClassVar[None] = None

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Looks at the moves of each sample in groups that double, as most samples break at once or late.

        Raises InputError for what is no image.
        """
        x, threat = oracle.problem.x, oracle.problem.threat
        if x.dim() != 4:
            raise InputError(f"expected images of shape (N, C, H, W) for spatial, got {tuple(x.shape)}")
        moves = self.moves(oracle.problem.streams, x)
        first, width = 0, 1
        while first < moves.shape[1]:
            waiting = (~oracle.done).nonzero().squeeze(1)
            if not len(waiting):
                break
            group = moves[:, first : first + width]
            rows = waiting.repeat_interleave(group.shape[1])
            place = torch.arange(group.shape[1], device=x.device).repeat(len(waiting))
            for at, which in zip(rows.split(oracle.slots), place.split(oracle.slots), strict=True):
                oracle.look(at, moved(x[at], group[at, which], low=threat.low, high=threat.high))
            first, width = first + width, min(2 * width, LOOKS)
            tell()

    def moves(self, streams: Streams, like: Tensor) -> Tensor:
        """Returns (N, M, 3): degrees, and shifts right and down as shares of the side, of each sample's candidates."""
        limits = like.new_tensor([self.rotation, self.translation, self.translation])
        if self.grid is None:
            unit = streams.derive("moves").uniform(like.new_empty(len(like), self.draws, 3))
            return (2 * unit - 1) * limits
        angles, shifts = (_evenly(number) for number in self.grid)
        every = like.new_tensor([move for move in itertools.product(angles, shifts, shifts) if any(move)])
        every = every[every.square().sum(1).argsort(descending=True, stable=True)]
        return (every * limits).expand(len(like), -1, -1)


def moved(x: Tensor, move: Tensor, *, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Returns (N, C, H, W): images turned about their middle and then shifted; what comes into view is `low`.

    move: (N, 3): degrees counterclockwise, and shifts right and down as shares of the side. Between pixels the values
    are interpolated linearly.
    """
    height, width = x.shape[2:]
    angle = move[:, 0] * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin * height / width, sin * width / height, cos], 1).view(-1, 2, 2)
    shift = turn @ (2 * move[:, 1:, None])
    grid = F.affine_grid(torch.cat([turn, -shift], 2), list(x.shape), align_corners=False)
    origin = low if math.isfinite(low) else 0.0
    # The weights of four neighbours add up to one but for rounding, which must not leave the box.
    return (F.grid_sample(x - origin, grid, align_corners=False) + origin).clamp(low, high)


def spatial(
    threat: Threat | Ball | None = None,
    *,
    rotation: float = 30.0,
    translation: float = 3 / 28,
    grid: tuple[int, int] = (31, 5),
    draws: int | None = None,
    targeted: bool = False,
) -> Attack:
    """Returns the search over rotations and shifts: an image is broken if any of them is.

    For images (N, C, H, W). It is no attack inside a ball; its distance is the largest change of a pixel.
    rotation: degrees to each side.  translation: a share of the side, each way: 3 pixels of 28 and 24 of 224, as in the
    paper.
    grid: how many angles, and how many shifts in each direction: 31 · 5 · 5 as in the paper.
    draws: random moves in place of the grid; 10 is the paper's worst-of-10.
    threat: a box or a grid of levels beside [0, 1], or a ball to stay in as well.
    Raises InputError for settings out of range.
    Source: Engstrom et al. 2019 (Exploring the landscape of spatial robustness), sections 3 and 5. As in its code the
    image turns first; libraries that shift first move it up to 4.1 pixels of 28 and break a few more.
    """
    for value, what, most in ((rotation, "rotation", 180.0), (translation, "translation", 1.0)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise InputError(f"expected {what} as a number in [0, {most:g}], got {value!r}")
    if len(tuple(grid)) != 2:
        raise InputError(f"expected grid as (angles, shifts in each direction), got {grid!r}")
    angles, shifts = (count(number, "the grid's numbers") for number in grid)
    if draws is None and not (angles > 1 and rotation) and not (shifts > 1 and translation):
        raise InputError("expected a grid with more than the image itself: give rotation or translation more than one")
    rule = Moves(
        rotation=float(rotation),
        translation=float(translation),
        grid=(angles, shifts) if draws is None else None,
        draws=0 if draws is None else count(draws, "draws"),
    )
    threat = Threat(Linf()) if threat is None else Threat.of(threat)
    return Attack(name="spatial", threat=threat, rule=rule, targeted=targeted)


def _evenly(number: int) -> list[float]:
    """So many places from -1 to 1; the middle where there is one alone."""
    return [2 * place / (number - 1) - 1 for place in range(number)] if number > 1 else [0.0]
