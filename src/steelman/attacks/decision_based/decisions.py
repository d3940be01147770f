"""What attacks that see decisions alone share: an image that is broken, bisection, and votes of random probes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Problem
from steelman.attacks.settings import column, where
from steelman.errors import InputError
from steelman.streams import Streams
from steelman.threat import Threat

TRIALS = 1000
"""Random images that are shown before a sample is given up."""

BISECTIONS = 64

Path = Callable[[Tensor, Tensor], Tensor]
"""(at (M,), indices of samples; share (M,), how far along) to images (M, *S)."""

Show = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(at (M,), indices of samples; number (M,) of the probe) to probes (M, *S) and what their votes weigh, (M, D)."""


def waiting(oracle: Oracle, rows: Tensor, least: int = 1) -> Tensor:
    """Returns (M,) bool: whether the sample of each row needs more and can pay `least` queries."""
    return ~oracle.done[rows] & (oracle.left(rows) >= least)


def begun(oracle: Oracle) -> tuple[Tensor, Tensor]:
    """Returns rows (M,), the samples for which a broken image was found, and these images, (M, *S).

    Where the attack was called with an image to begin at, that one; else random ones, one after another, until one is
    broken: uniform over the box and, in turn with these, black and white, as some classes own all uniform noise.
    Raises InputError where an image to begin at is not broken.
    """
    problem = oracle.problem
    all_rows = torch.arange(len(problem.x), device=problem.x.device)
    rows = all_rows[waiting(oracle, all_rows) & ~oracle.tally.natural]
    found, has = problem.x.clone(), torch.zeros_like(oracle.done)
    given = (problem.begin != problem.x).flatten(1).any(1)[rows]
    _given(oracle, rows[given])
    found[rows[given]] = problem.begin[rows[given]]
    has[rows[given]] = True
    rows = rows[~given]
    for trial in range(TRIALS):
        rows = rows[waiting(oracle, rows) & ~has[rows]]
        if not len(rows):
            break
        x = _noise(problem, rows, trial)
        broken = oracle.breaks(rows, x)
        found[rows[broken]] = x[broken]
        has[rows[broken]] = True
    rows = has.nonzero().squeeze(1)
    return rows, found[rows]


def _given(oracle: Oracle, rows: Tensor) -> None:
    if not len(rows):
        return
    wrong = int((~oracle.breaks(rows, oracle.problem.begin[rows])).sum())
    if wrong:
        kind = "as the wanted class" if oracle.problem.targeted else "wrongly"
        raise InputError(
            f"expected images to begin at that the model reads {kind}, got {wrong} of {len(rows)} that it does not: "
            "give an image of such a class as begin, or none, to start from noise"
        )


def _noise(problem: Problem, rows: Tensor, trial: int) -> Tensor:
    threat, x = problem.threat, problem.x[rows]
    streams = Streams(problem.streams.key[rows]).derive("noise").derive(trial)
    if not math.isfinite(threat.high - threat.low):
        scale: float = 2.0 ** (trial % 16 - 4)
        return (x + scale * streams.normal(x)).clamp(threat.low, threat.high)
    unit = streams.uniform(x)
    if trial % 2:
        density = streams.derive("density").uniform(x.flatten(1)[:, 0])
        unit = (unit < column(density, unit)).to(x)
    noise: Tensor = threat.low + (threat.high - threat.low) * unit
    return noise


def bisected(oracle: Oracle, rows: Tensor, path: Path, *, low: Tensor, high: Tensor, within: Tensor | float) -> Tensor:
    """Returns (M,): how far along each path the boundary is, on the broken side, up to a share `within` of it.

    rows: each sample once.  low, high: (M,), where the path is not broken and where it was seen to be.
    A sample that is done or out of queries stays where it is.
    """
    for _ in range(BISECTIONS):
        at = ((high - low > within * high) & waiting(oracle, rows)).nonzero().squeeze(1)
        if not len(at):
            break
        middle = (low[at] + high[at]) / 2
        broken = oracle.breaks(rows[at], path(at, middle))
        high = high.index_put((at[broken],), middle[broken])
        low = low.index_put((at[~broken],), middle[~broken])
    return high


def to_boundary(oracle: Oracle, rows: Tensor, x: Tensor, within: Tensor | float) -> Tensor:
    """Returns (M, *S): broken images at the boundary between the clean ones and x, (M, *S), which are broken.

    The way is straight; for Linf all pixels are clipped to a smaller and smaller distance.
    within: how far from the boundary, as a share of the way that is left.
    """
    clean, ball = oracle.problem.x[rows], oracle.problem.threat.ball
    size = ball.size(x - clean)

    def path(at: Tensor, share: Tensor) -> Tensor:
        if ball.entrywise:
            radius = column(share * size[at], x)
            blended = torch.minimum(torch.maximum(x[at], clean[at] - radius), clean[at] + radius)
        else:
            blended = torch.lerp(clean[at], x[at], column(share, x))
        return where(share >= 1, x[at], blended)

    whole = torch.ones_like(size)
    share = bisected(oracle, rows, path, low=torch.zeros_like(size), high=whole, within=within)
    return path(torch.arange(len(rows), device=rows.device), share)


def votes(oracle: Oracle, rows: Tensor, count: Tensor, show: Show, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what random probes say: the sums of sign · weight and of weight, (M, D), and of sign, (M,).

    A broken probe has the sign 1, another -1.  rows: each sample once.  count: (M,), how many probes.
    like: of the type and device of the sums, (M, D).
    """
    signed, total, net = torch.zeros_like(like), torch.zeros_like(like), like.new_zeros(len(rows))
    width = max(1, oracle.slots // len(rows))
    for first in range(0, int(count.max()), width):
        number = torch.arange(first, first + width, device=rows.device)
        at, column_ = (number < count[:, None]).nonzero(as_tuple=True)
        x, weight = show(at, number[column_])
        sign = like.new_zeros(len(rows), width)
        sign[at, column_] = torch.where(oracle.breaks(rows[at], x), 1, -1).to(like)
        each = like.new_zeros(len(rows), width, like.shape[1])
        each[at, column_] = weight
        signed += torch.bmm(sign[:, None], each).squeeze(1)
        total += each.sum(1)
        net += sign.sum(1)
    return signed, total, net


def finest(threat: Threat, x: Tensor) -> float:
    """Returns the smallest change of a pixel that an image holds: a few roundings, or a level of the grid."""
    if threat.levels is not None:
        return (threat.high - threat.low) / (threat.levels - 1)
    return 4 * torch.finfo(x.dtype).eps * span(threat)


def span(threat: Threat) -> float:
    """Returns how wide the box is; 1 for one without an end."""
    return threat.high - threat.low if math.isfinite(threat.high - threat.low) else 1.0
