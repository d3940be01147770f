"""HopSkipJump: the gradient at the boundary from decisions alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.corruptions.frequencies import Lowest
from steelman.attacks.decision_based.decisions import begun, finest, span, to_boundary, votes, waiting
from steelman.attacks.engine.goals import Nearest
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks
from steelman.attacks.settings import column, count, positive, smallest
from steelman.errors import InputError
from steelman.norms import Ball
from steelman.streams import Streams
from steelman.threat import Threat

HALVINGS = 24


@dataclass(frozen=True, kw_only=True)
class HopSkipJump:
    """At the boundary: probes vote for a direction, a step along it, and back to the boundary; begun again.

    queries: that a sample may cost.  probes: of the first round; sqrt(t) times as many in round t, at most `most`.
    gamma: how exactly the boundary is met: within gamma / d^1.5 of the distance for L2, gamma / d^2 for Linf.
    subspace: how many of the lowest frequencies of each axis probes are made of; None for all of the space.
    """

    queries: int
    probes: int
    most: int
    gamma: float
    subspace: int | None

    asks: ClassVar[Asks] = Asks.DECISIONS

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Shows candidates round by round, of all samples at once, until nobody can pay for another round."""
        problem = oracle.problem
        within = self._within(problem.threat, problem.x)
        low = Lowest.of(problem.x, self.subspace)
        reserve = math.ceil(-math.log2(within)) + 5
        rows, x = begun(oracle)
        far = problem.threat.ball.size(x - problem.x[rows])
        x = to_boundary(oracle, rows, x, within)
        for t in range(1, self.queries + 1):
            stay = waiting(oracle, rows, reserve + 1)
            rows, x, far = rows[stay], x[stay], far[stay]
            if not len(rows):
                break
            paid = (oracle.left(rows) - reserve).clamp_max(min(int(self.probes * math.sqrt(t)), self.most))
            reach = self._reach(problem.threat, x, far, t)
            direction = self._direction(oracle, rows, x, paid, reach, low, t)
            x = self._step(oracle, rows, x, direction, t)
            far = problem.threat.ball.size(x - problem.x[rows])
            x = to_boundary(oracle, rows, x, within)
            tell()

    def _within(self, threat: Threat, x: Tensor) -> float:
        """The share of the way within which the boundary is met, no finer than numbers are."""
        power = 2.0 if threat.ball.name == "Linf" else 1.5  # the exponents of the paper
        share: float = self.gamma / x.shape[1:].numel() ** power
        return min(max(share, 4 * torch.finfo(x.dtype).eps), 0.5)

    def _reach(self, threat: Threat, x: Tensor, far: Tensor, t: int) -> Tensor:
        """(M,): the L2 length of probes; far, (M,): how far the images were before they went back to the boundary."""
        d = x.shape[1:].numel()
        reach = torch.full_like(far, 0.1 * span(threat)) if t == 1 else self.gamma / d * far
        return reach.clamp_min(math.sqrt(d) * finest(threat, x))

    def _direction(
        self, oracle: Oracle, rows: Tensor, x: Tensor, paid: Tensor, reach: Tensor, low: Lowest, t: int
    ) -> Tensor:
        """(M, *S): the unit move away from what the model classifies correctly, as the probes vote."""
        threat = oracle.problem.threat
        streams = Streams(oracle.problem.streams.key[rows]).derive("probe").derive(t)

        def show(at: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
            own = Streams(streams.key[at]).derive(number)
            like = x.new_empty(len(at), low.lanes)
            noise = threat.ball.noise(own, like)
            unit = low.lift(noise / noise.norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny))
            shown = torch.addcmul(x[at], column(reach[at], x), unit).clamp_(threat.low, threat.high)
            return shown, ((shown - x[at]) / column(reach[at], x)).flatten(1)

        signed, total, net = votes(oracle, rows, paid, show, x.flatten(1))
        mean = net / paid
        # Where all votes are alike, their mean would cancel them: then they count as they are.
        mean = torch.where(mean.abs() >= 1, 0, mean)
        return threat.ball.steepest((signed - mean[:, None] * total).view_as(x))

    def _step(self, oracle: Oracle, rows: Tensor, x: Tensor, direction: Tensor, t: int) -> Tensor:
        """(M, *S): a step of distance / sqrt(t), halved until it is broken; no step where none is."""
        threat = oracle.problem.threat
        length = threat.ball.size(x - oracle.problem.x[rows]) / math.sqrt(t)
        at, x = torch.arange(len(rows), device=rows.device), x.clone()
        start = x.clone()
        for _ in range(HALVINGS):
            at = at[waiting(oracle, rows[at])]
            if not len(at):
                break
            moved = torch.addcmul(start[at], column(length[at], x), direction[at]).clamp_(threat.low, threat.high)
            broken = oracle.breaks(rows[at], moved)
            x[at[broken]] = moved[broken]
            at = at[~broken]
            length = length / 2
        return x


def hopskipjump(
    threat: Threat | Ball,
    *,
    queries: int = 25_000,
    probes: int = 100,
    most: int = 10_000,
    gamma: float = 1.0,
    subspace: int | None = None,
    targeted: bool = False,
) -> Attack:
    """Returns HopSkipJump, which looks for the smallest change and sees decisions alone.

    threat: L2 or Linf; its radius is how far a change may go.
    queries: that an image may cost, the clean look and the search for a start counted; never more.
    probes: for the first direction, sqrt(t) times as many for that of round t, and at most `most`.
    gamma: how exactly the boundary is met, in shares of d^-1.5 (L2) or d^-2 (Linf) of the distance.
    subspace: how many of the lowest frequencies of each axis probes are made of, which finds more with few queries
    (QEBA-F, Li et al. 2020); all of the space unless told. Images only.
    It starts at `begin`, an image that is broken already, or at noise; without one a target that no noise is classified
    as is not reached.
    Source: Chen, Jordan & Wainwright 2020, algorithms 1 and 2, with the settings of its section V and 25,000 queries,
    the most of its tables. As in the authors' code the first probes are of length .1 of the box, and votes that are all
    alike count without a baseline. Probes and bisections are never finer than the type or the grid of the images.
    """
    if count(most, "most") < count(probes, "probes"):
        raise InputError(f"expected most >= probes, got {most} and {probes}")
    search = HopSkipJump(
        queries=count(queries, "queries", 2),
        probes=probes,
        most=most,
        gamma=positive(gamma, "gamma"),
        subspace=None if subspace is None else count(subspace, "subspace"),
    )
    return Attack(
        name="hopskipjump",
        threat=smallest(threat, "hopskipjump", "L2", "Linf"),
        rule=search,
        targeted=targeted,
        goal=Nearest(),
    )
