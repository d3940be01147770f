"""The Square attack: random search with square changes, by the scores alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.corruptions.windows import Window
from steelman.attacks.engine.guides import Guide
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, count, inside, positive, share, where
from steelman.errors import InputError
from steelman.losses import Loss, cross_entropy, margin
from steelman.norms import Ball, l1_in_box
from steelman.threat import Threat

TINY = 1e-12


class Best(NamedTuple):
    """The best candidate so far, (N, *S), and its value, (N,)."""

    x: Tensor
    value: Tensor


@dataclass(frozen=True)
class Sides:
    """How wide a sample's next square is: of p of the image's area at first, and of less and less later.

    queries: that the schedule, which the paper gives for 10,000, is stretched to; None for as it is.
    least: the smallest side.  odd: whether sides are rounded up to odd ones.
    Source: Andriushchenko et al. 2020, section 4.1; stretched as in AutoAttack (Croce & Hein 2020).
    """

    p: float
    queries: int | None
    least: int = 1
    odd: bool = False

    def __call__(self, k: Tensor, height: int, width: int) -> Tensor:
        """Returns (N,), int64: the sides at move k, (N,), none longer than the image's shorter one."""
        halved = k.new_tensor([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])
        at = torch.bucketize(k if self.queries is None else k * 10_000 // self.queries, halved)
        sides = [max(round(math.sqrt(self.p / 2**j * height * width)), self.least) for j in range(len(halved) + 1)]
        return k.new_tensor([min(side + (self.odd and side % 2 == 0), height, width) for side in sides])[at]


@dataclass(frozen=True, kw_only=True)
class Squares:
    """Random search among the corners of an Linf ball: stripes at first, then one square a move, kept if it gains.

    Source: Andriushchenko et al. 2020, algorithms 1 and 2.
    """

    steps: int
    sides: Sides

    asks: ClassVar[Asks] = Asks.SCORES
    from_input: ClassVar[bool] = False

    def start(self, problem: Problem) -> tuple[Tensor, Best]:
        """Returns vertical stripes, each at one end of its range, and no best yet."""
        image = _image(problem.x)
        up = problem.streams.derive("stripes").uniform(image[:, :, :1]) < 0.5
        low, high = _range(problem, image)
        return torch.where(up, high, low).view_as(problem.x), _nothing(problem)

    def move(self, problem: Problem, state: Best, probe: Probe) -> tuple[Tensor, Best]:
        """Returns the best candidate with one more square, each channel of it at one end of its range."""
        best = _better(state, probe)
        image, clean = _image(best.x), _image(problem.x)
        n, channels, height, width = image.shape
        draw = problem.streams.derive("square").derive(probe.k).uniform(image.new_empty(n, 3 + 2 * channels))
        square = Window.at(draw[:, :2], self.sides(probe.k, height, width), height, width)
        low, high = _range(problem, square.of(clean))
        up, again = (draw[:, 3:, None] < 0.5).split(channels, 1)
        # A square that is there already would waste a query: another pattern of its channels then, as in the
        # authors' code.
        there = (torch.where(up, high, low) == square.of(image)).flatten(1).all(1)
        forced = (draw[:, 2, None, None] * channels).long().clamp_max(channels - 1)
        again = again.scatter(1, forced, ~up.gather(1, forced))
        new = torch.where(where(there, again, up), high, low)
        # Where a narrower square's places repeat, they get the same value again.
        x = image.flatten(2).scatter(2, square.places.expand_as(new), new)
        return x.view_as(best.x), best


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Random search on an L2 or L1 sphere: a move takes the change in one window and adds it, reshaped, to another.

    Source: Andriushchenko et al. 2020, algorithms 1 and 3; L1: Croce & Hein 2021, section 4.2, and AutoAttack's code.
    """

    steps: int
    sides: Sides

    asks: ClassVar[Asks] = Asks.SCORES
    from_input: ClassVar[bool] = False

    def start(self, problem: Problem) -> tuple[Tensor, Best]:
        """Returns a grid of five by five windows or so, each of a random sign and turn, and no best yet."""
        image = _image(problem.x)
        n, channels, height, width = image.shape
        side = max(1, min(height, width) // 5)
        down, across = height // side, width // side
        bump = _bumps(torch.tensor([side], device=image.device), image, _of(problem))[0]
        tiles = image.new_empty(n, channels, down, across, 1, 1)
        turned = problem.streams.derive("turn").uniform(tiles[:, :1]) < 0.5
        sign = 1 - 2 * (problem.streams.derive("sign").uniform(tiles) < 0.5).to(image)
        grid = (sign * torch.where(turned, bump.T, bump)).transpose(3, 4).reshape(n, channels, down * side, -1)
        delta = torch.zeros_like(image)
        top, left = (height - down * side) // 2, (width - across * side) // 2
        delta[:, :, top : top + down * side, left : left + across * side] = grid
        long = _size(delta.flatten(1), _of(problem))[:, :, None, None]
        return _fitted(problem, delta * (_eps(problem, delta) / long).clamp_min(1)), _nothing(problem)

    def move(self, problem: Problem, state: Best, probe: Probe) -> tuple[Tensor, Best]:
        """Returns the best candidate after one exchange between two windows."""
        best, norm = _better(state, probe), _of(problem)
        delta = _image(best.x - problem.x)
        n, channels, height, width = delta.shape
        draw = problem.streams.derive("windows").derive(probe.k).uniform(delta.new_empty(n, 5 + channels))
        side = self.sides(probe.k, height, width)
        into, out = (Window.at(draw[:, at : at + 2], side, height, width) for at in (0, 2))
        there = into.of(delta) * into.mask
        gone = out.of(delta) * out.outside(into)
        held = torch.stack([_size(there, norm), _size(gone, norm)])
        sign = 1 - 2 * (draw[:, 5:, None] < 0.5).to(delta)
        new = _turned(side, draw[:, 4] < 0.5, delta, norm) * sign + there / held[0].clamp_min(TINY)
        held = held.square().sum(0).sqrt() if norm == "L2" else held.sum(0)
        new = new / _size(new, norm).clamp_min(TINY) * _room(problem, delta, held)
        flat = delta.flatten(2).scatter_add(2, out.places.expand_as(gone), -gone)
        flat = flat.scatter_add(2, into.places.expand_as(new), new - there)
        return _fitted(problem, flat.view_as(delta)), best


def square(
    threat: Threat | Ball,
    *,
    queries: int = 5000,
    p: float = 0.8,
    rescale: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    loss: Loss | Guide | None = None,
) -> Attack:
    """Returns the Square attack: random search that changes one square of the image a query, by the scores alone.

    threat: Linf or L2 as in the paper, or L1.  A vector is an image of one row.
    queries: of a sample and attempt, at least 3; the look at the clean image is the first of them.
    p: the share of the image that the first square covers.  rescale: whether the schedule by which squares shrink is
    stretched from the paper's 10,000 queries to these.
    loss: unless told the margin, and the cross-entropy if targeted, as in the paper.
    5,000 queries and p = .8 are AutoAttack's, which leaves the schedule as it is (rescale=False); the paper takes
    10,000 queries and a p of its own for each model, as in .05 (Linf) and .1 (L2) on ImageNet.
    Source: Andriushchenko et al. 2020; L1: Croce & Hein 2021 (Mind the box).
    """
    threat = inside(threat, "square", "Linf", "L2", "L1")
    stretched = count(queries, "queries", 3) if rescale else None
    share(positive(p, "p"), "p")
    rule: Squares | Windows
    if threat.ball.name == "Linf":
        rule = Squares(steps=count(queries, "queries", 3) - 2, sides=Sides(p, stretched))
    else:
        rule = Windows(steps=count(queries, "queries", 3) - 2, sides=Sides(p, stretched, least=3, odd=True))
    return Attack(
        name="square",
        threat=threat,
        rule=rule,
        loss=loss or (cross_entropy if targeted else margin),
        targeted=targeted,
        restarts=count(restarts, "restarts"),
    )


def _image(x: Tensor) -> Tensor:
    """(N, C, H, W): images in grey have one channel, vectors one row too."""
    if x.dim() > 4:
        raise InputError(f"expected vectors or images of at most (channels, height, width), got {tuple(x.shape[1:])}")
    return x.reshape(len(x), *[1] * (4 - x.dim()), *x.shape[1:])


def _nothing(problem: Problem) -> Best:
    return Best(problem.x.clone(), problem.x.new_full((len(problem.x),), -torch.inf))


def _better(state: Best, probe: Probe) -> Best:
    gains = probe.value > state.value
    value = torch.where(gains, probe.value.to(state.value.dtype), state.value)
    return Best(where(gains, probe.x, state.x), value)


def _range(problem: Problem, image: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest that an Linf threat allows, of the shape of the images."""
    eps, threat = _eps(problem, image), problem.threat
    return (image - eps).clamp_min(threat.low), (image + eps).clamp_max(threat.high)


def _eps(problem: Problem, image: Tensor) -> Tensor:
    return column(torch.as_tensor(problem.threat.eps, dtype=image.dtype, device=image.device), image)


def _of(problem: Problem) -> str:
    return problem.threat.ball.name


def _size(delta: Tensor, norm: str) -> Tensor:
    """The norm over the last dimension, which stays as one."""
    return delta.square().sum(-1, keepdim=True).sqrt() if norm == "L2" else delta.abs().sum(-1, keepdim=True)


def _room(problem: Problem, delta: Tensor, held: Tensor) -> Tensor:
    """(N, C, 1): the norm that a window gets: what both windows held, and a channel's share of what is unspent."""
    norm, eps, channels = _of(problem), _eps(problem, held), delta.shape[1]
    spent = _size(delta.flatten(1)[:, None], norm)
    if norm == "L2":
        return ((eps.square() - spent.square()).clamp_min(0) / channels + held.square()).sqrt()
    return (eps - spent).clamp_min(0) + held * channels


def _fitted(problem: Problem, delta: Tensor) -> Tensor:
    """(N, *S): the clean image changed by delta, scaled (L2) or projected (L1) to the ball and brought into the box."""
    delta, clean, threat = delta.view_as(problem.x), problem.x, problem.threat
    if _of(problem) == "L2":
        found = clean.addcmul(delta, _eps(problem, clean) / column(threat.ball.size(delta).clamp_min(TINY), clean))
    else:
        eps = _eps(problem, clean).flatten().expand(len(clean)) * (1 - 1e-6)
        found = clean + l1_in_box(delta, eps, threat.low - clean, threat.high - clean)
    return found.clamp_(threat.low, threat.high)


def _turned(side: Tensor, turned: Tensor, like: Tensor, norm: str) -> Tensor:
    """(N, 1, P): the bumps of windows of these sides, (N,), one above the other, or side by side where turned."""
    kinds, kind = side.unique(return_inverse=True)
    bumps = _bumps(kinds, like, norm)
    return torch.stack([bumps, bumps.mT])[turned.long(), kind].flatten(1)[:, None]


def _bumps(side: Tensor, like: Tensor, norm: str) -> Tensor:
    """Returns (U, s, s): a bump above one of the opposite sign, of norm one over squares of U sides, the largest s.

    A bump falls with the larger of the distances from its middle, as a sum of 1 / j² (L2) or of 1 / j⁴ (L1).
    Source: Andriushchenko et al. 2020, eq. 2, and its code.
    """
    most = int(side.max())
    side = side[:, None, None]
    rows = torch.arange(most, device=side.device)[None, :, None]
    columns, half = rows.mT, side // 2
    lower = rows >= half
    middle = torch.where(lower, half + (side - half) // 2, half // 2)
    distance = torch.maximum((rows - middle).abs(), (columns - half).abs())
    steps = torch.arange(1, most + 2, device=side.device, dtype=like.dtype).pow(-2.0 if norm == "L2" else -4.0)
    sums = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    height = (sums[half + 1] - sums[distance]) * ((rows < side) & (columns < side))
    upper, under = ((height * part).flatten(1) for part in (~lower, lower))
    both = upper / _size(upper, norm).clamp_min(TINY) - under / _size(under, norm).clamp_min(TINY)
    return (both / _size(both, norm)).view_as(height)
