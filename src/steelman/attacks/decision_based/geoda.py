"""GeoDA: the normal of the boundary from decisions alone, and straight to the plane that it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.corruptions.frequencies import Lowest
from steelman.attacks.decision_based.decisions import begun, bisected, finest, span, to_boundary, votes, waiting
from steelman.attacks.engine.goals import Nearest
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks
from steelman.attacks.settings import column, count, positive, share, smallest, where
from steelman.errors import InputError
from steelman.norms import Ball
from steelman.streams import Streams
from steelman.threat import Threat

SEARCH = 25
"""Queries that a round sets aside for its way to the boundary."""

FIRST = 80
"""Most probes of the first round; as many rounds are planned as bring it below."""

DOUBLINGS = 12


@dataclass(frozen=True, kw_only=True)
class GeoDA:
    """At the boundary: probes vote for its normal, then from the clean image along it to the boundary; begun again.

    queries: that a sample may cost.  sigma: how far probes go in each direction, as a share of the box.
    ratio: lambda, of which round t has (1 / lambda)^(2t/3) times the probes of the first.
    subspace: how many of the lowest frequencies of each axis probes are made of; None for all of the space.
    """

    queries: int
    sigma: float
    ratio: float
    subspace: int | None

    asks: ClassVar[Asks] = Asks.DECISIONS

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Shows candidates round by round, of all samples at once."""
        problem = oracle.problem
        low, scale = Lowest.of(problem.x, self.subspace), self._scale(problem.threat, problem.x)
        rows, x = begun(oracle)
        x = to_boundary(oracle, rows, x, self._within(scale, x - problem.x[rows]))
        normal = x.new_zeros(len(rows), low.lanes)
        for t, number in enumerate(plan(self.queries, self.ratio), 1):
            stay = waiting(oracle, rows, SEARCH + 1)
            rows, x, normal = rows[stay], x[stay], normal[stay]
            if not len(rows):
                break
            paid = (oracle.left(rows) - SEARCH).clamp_max(number)
            streams = Streams(problem.streams.key[rows]).derive("probe").derive(t)
            show = partial(self._probes, problem.threat, x, streams, low, scale)
            signed, _, _ = votes(oracle, rows, paid, show, normal)
            normal = normal + signed
            x = self._along(oracle, rows, x, low.lift(normal), scale)
            tell()

    def _scale(self, threat: Threat, x: Tensor) -> float:
        return max(self.sigma * span(threat), finest(threat, x))

    def _within(self, scale: float, way: Tensor) -> Tensor:
        """(M,): half a probe's deviation, as a share of the way, so that probes meet the boundary they start at."""
        length = way.flatten(1).norm(dim=1).clamp_min(torch.finfo(way.dtype).tiny)
        within: Tensor = (0.5 * scale / length).clamp(4 * torch.finfo(way.dtype).eps, 1e-3)
        return within

    def _probes(
        self, threat: Threat, x: Tensor, streams: Streams, low: Lowest, scale: float, at: Tensor, number: Tensor
    ) -> tuple[Tensor, Tensor]:
        weight = Streams(streams.key[at]).derive(number).normal(x.new_empty(len(at), low.lanes))
        return torch.add(x[at], low.lift(weight), alpha=scale).clamp_(threat.low, threat.high), weight

    def _along(self, oracle: Oracle, rows: Tensor, x: Tensor, normal: Tensor, scale: float) -> Tensor:
        """(M, *S): from the clean images along the normal to the boundary; as they were where none was met."""
        threat, clean = oracle.problem.threat, oracle.problem.x[rows]
        inner = torch.zeros_like(clean.flatten(1)[:, 0])
        outer = threat.ball.size(x - clean)
        at = torch.arange(len(rows), device=rows.device)
        met = torch.zeros_like(rows, dtype=torch.bool)

        def path(at: Tensor, radius: Tensor) -> Tensor:
            return farthest(threat, clean[at], normal[at], radius)

        for _ in range(DOUBLINGS):
            at = at[waiting(oracle, rows[at])]
            if not len(at):
                break
            broken = oracle.breaks(rows[at], path(at, outer[at]))
            met[at[broken]] = True
            at = at[~broken]
            inner[at] = outer[at]
            outer[at] *= 2
        hit = met.nonzero().squeeze(1)
        outer[hit] = bisected(
            oracle,
            rows[hit],
            lambda at, radius: path(hit[at], radius),
            low=inner[hit],
            high=outer[hit],
            within=self._within(scale, x - clean)[hit],
        )
        return where(met, path(torch.arange(len(rows), device=rows.device), outer), x)


def plan(queries: int, ratio: float) -> list[int]:
    """Returns how many probes each round may have; the last takes what is left.

    Source: Rahmati et al. 2020, eq. 19, with as many rounds as the authors' code makes of it.
    """
    for rounds in range(1, queries + 1):
        weights = [ratio ** (-2 * t / 3) for t in range(rounds)]
        probes = [round(max(queries - SEARCH * rounds, 1) * weight / sum(weights)) for weight in weights]
        if probes[0] <= FIRST:
            break
    return [max(1, number) for number in probes[:-1]] + [queries]


def farthest(threat: Threat, clean: Tensor, normal: Tensor, radius: Tensor) -> Tensor:
    """Returns (M, *S): the images that gain along the normal, no farther than radius, (M,), and inside the box.

    For Linf and L1 there are none that gain more; L2 is clipped, as in the paper.
    """
    if threat.ball.name != "L1":
        moved = torch.addcmul(clean, column(radius, clean), threat.ball.steepest(normal))
        return moved.clamp_(threat.low, threat.high)
    flat, slope = clean.flatten(1), normal.flatten(1)
    room = torch.where(slope > 0, threat.high - flat, flat - threat.low).masked_fill(slope == 0, 0)
    order = slope.abs().argsort(dim=1, descending=True, stable=True)
    space = torch.minimum(room, radius[:, None]).gather(1, order)
    used = torch.minimum((radius[:, None] - (space.cumsum(1) - space)).clamp_min(0), space)
    moved = flat + slope.sign() * torch.zeros_like(flat).scatter_(1, order, used)
    return moved.clamp_(threat.low, threat.high).view_as(clean)


def geoda(
    threat: Threat | Ball,
    *,
    queries: int = 5000,
    subspace: int | None = None,
    sigma: float = 2e-4,
    ratio: float = 0.6,
) -> Attack:
    """Returns GeoDA, which looks for the smallest change and sees decisions alone; untargeted, as its paper has it.

    threat: L2, Linf or L1; its radius is how far a change may go.
    queries: that an image may cost, the clean look and the search for a start counted; never more.
    subspace: how many of the lowest frequencies of each axis probes are made of, the paper's 75 of 224 for ImageNet,
    say; all of the space unless told. Images only.
    sigma: how far probes go in each direction, as a share of the box.
    ratio: lambda; round t has (1 / lambda)^(2t/3) times the probes of the first.
    It starts at `begin`, an image that is broken already, or at noise.
    Source: Rahmati, Moosavi-Dezfooli, Frossard & Dai 2020, algorithms 1 and 2; 5,000 queries, the middle of its tables.
    sigma and lambda as in the authors' code. Its normals add up over the rounds; here every vote counts alike, where
    there every round does, however few its probes: 2,000 queries then end a quarter nearer. For L1 the
    largest entries of the normal go to the edge of the box one after another: their sparse variant, along one path.
    """
    if not share(ratio, "ratio") or ratio > 0.999:
        raise InputError(f"expected ratio in (0, 1), got {ratio}")
    search = GeoDA(
        queries=count(queries, "queries", 2),
        sigma=positive(sigma, "sigma"),
        ratio=float(ratio),
        subspace=None if subspace is None else count(subspace, "subspace"),
    )
    return Attack(name="geoda", threat=smallest(threat, "geoda", "L2", "Linf", "L1"), rule=search, goal=Nearest())
