"""The Boundary Attack: a random walk along the boundary, towards the clean image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.decision_based.decisions import begun, to_boundary, waiting
from steelman.attacks.engine.goals import Nearest
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks, take
from steelman.attacks.settings import count, positive, smallest, where
from steelman.errors import InputError
from steelman.norms import Ball
from steelman.streams import Streams
from steelman.threat import Threat

WITHIN = 1e-3
"""How near the boundary the walk begins, as a share of the way."""


class Record(NamedTuple):
    """The last tries of each sample, as a ring.

    hits: (M, size) bool.  seen: (M,), int64, how many since it was emptied.
    """

    hits: Tensor
    seen: Tensor

    @classmethod
    def empty(cls, size: int, like: Tensor) -> Record:
        """Returns a ring for each of like, (M,)."""
        seen = torch.zeros_like(like, dtype=torch.int64)
        return cls(seen.bool()[:, None].repeat(1, size), seen)

    def add(self, hit: Tensor) -> Record:
        """Returns the record with one more try of each sample."""
        place = (self.seen % self.hits.shape[1])[:, None]
        return Record(self.hits.scatter(1, place, hit[:, None]), self.seen + 1)

    def judged(self, *, few: float, many: float) -> tuple[Tensor, Record]:
        """Returns (M,): -1, 0 or 1 for few, enough or many hits, 0 until the ring is full; empties what was judged."""
        share = self.hits.double().mean(1)
        verdict = torch.where(share > many, 1, torch.where(share < few, -1, 0))
        verdict = torch.where(self.seen >= self.hits.shape[1], verdict, 0)
        return verdict, Record(self.hits, torch.where(verdict == 0, self.seen, 0))


class Walk(NamedTuple):
    """Where each sample is and how it steps: row (M,), x (M, *S), aside and inwards (M,), shares of the distance."""

    row: Tensor
    x: Tensor
    aside: Tensor
    inwards: Tensor
    asides: Record
    steps: Record


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """Every step: at random along the sphere around the clean image, then towards it; taken if still broken.

    queries: that a sample may cost.  aside, inwards: the first steps' lengths, as shares of the distance.
    factor: by which they grow and shrink.  every: how many steps lie between two tries of the sphere alone.
    memory: by how many tries the steps are judged.  converged: the step inwards at which a sample is done.
    """

    queries: int
    aside: float
    inwards: float
    factor: float
    every: int
    memory: int
    converged: float

    asks: ClassVar[Asks] = Asks.DECISIONS

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Shows one candidate of each sample after another until nobody can pay for another."""
        rows, x = begun(oracle)
        x = to_boundary(oracle, rows, x, WITHIN)
        one = x.new_ones(len(rows))
        record = Record.empty(self.memory, one)
        walk = Walk(rows, x, self.aside * one, self.inwards * one, record, record)
        for k in range(1, self.queries + 1):
            stay = waiting(oracle, walk.row, 2) & (walk.inwards >= self.converged)
            if not bool(stay.all()):
                walk = take(walk, stay)
            if not len(walk.row):
                break
            walk = self._stepped(oracle, walk, k)
            if k % self.every == 0:
                tell()

    def _stepped(self, oracle: Oracle, walk: Walk, k: int) -> Walk:
        clean = oracle.problem.x[walk.row]
        sphere, candidate = self._candidates(oracle, walk, clean, k)
        broken = oracle.breaks(walk.row, candidate)
        size = oracle.problem.threat.ball.size
        nearer = broken & (size(candidate - clean) < size(walk.x - clean))
        if k % self.every == 0:
            walk = self._adapted(walk, oracle.breaks(walk.row, sphere), broken)
        return walk._replace(x=where(nearer, candidate, walk.x))

    def _candidates(self, oracle: Oracle, walk: Walk, clean: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Images on the sphere through x, and those after the step inwards."""
        threat = oracle.problem.threat
        tiny = torch.finfo(clean.dtype).tiny
        centre, out = clean.flatten(1), (walk.x - clean).flatten(1)
        length = out.norm(dim=1, keepdim=True).clamp_min(tiny)
        noise = Streams(oracle.problem.streams.key[walk.row]).derive("step").derive(k).normal(out)
        noise = noise - (noise * out).sum(1, keepdim=True) / length**2 * out
        aside, inwards = walk.aside[:, None], walk.inwards[:, None]
        noise = noise * (aside * length / noise.norm(dim=1, keepdim=True).clamp_min(tiny))
        sphere = (centre + (out + noise) / (1 + aside**2).sqrt()).clamp(threat.low, threat.high)
        # The box may have cut a piece off the sphere, which shortens the step that is left to make.
        radius = (sphere - centre).norm(dim=1, keepdim=True).clamp_min(tiny)
        share = (radius - (1 - inwards) * length).clamp_min(0) / radius
        candidate = torch.lerp(sphere, centre, share)
        return sphere.view_as(clean), candidate.view_as(clean)

    def _adapted(self, walk: Walk, on_sphere: Tensor, after: Tensor) -> Walk:
        """Longer steps where many are broken, shorter ones where few are."""
        aside, asides = walk.asides.add(on_sphere).judged(few=0.2, many=0.5)
        step, steps = walk.steps.add(after).judged(few=0.1, many=0.25)
        turn = self.factor ** aside.to(walk.aside)
        return walk._replace(
            aside=walk.aside * turn,
            inwards=walk.inwards * turn * self.factor ** step.to(walk.inwards),
            asides=asides,
            steps=steps,
        )


def boundary(
    threat: Threat | Ball,
    *,
    queries: int = 25_000,
    aside: float = 0.01,
    inwards: float = 0.01,
    factor: float = 1.5,
    every: int = 5,
    memory: int = 10,
    converged: float = 1e-7,
    targeted: bool = False,
) -> Attack:
    """Returns the Boundary Attack, which looks for the smallest change and sees decisions alone.

    threat: L2; its radius is how far a change may go.
    queries: that an image may cost, the clean look and the search for a start counted; never more.
    aside, inwards: lengths of the first steps along the sphere and towards the clean image, as shares of the distance.
    factor: by which steps grow and shrink.  every: how many steps lie between two looks at how they fare.
    memory: by how many looks they are judged.  converged: the step inwards at which an image is done.
    It starts at `begin`, an image that is broken already, or at noise; without one a target that no noise is classified
    as is not reached.
    Source: Brendel, Rauber & Bethge 2018, section 2, with the first steps, the factor and the rates of the authors'
    reference implementation in Foolbox 3: of the tries along the sphere .2 to .5 shall be broken, of those after both
    steps .1 to .25. It differs in that the walk begins where the line to the start meets the boundary, that images do
    not share their noise, and in that steps are judged sooner, where theirs needs every=10 and 100 and 30 looks: 6,000
    queries then end a fifth nearer.
    """
    if not positive(factor, "factor") > 1:
        raise InputError(f"expected factor > 1, got {factor}")
    if not positive(inwards, "inwards") < 1:
        raise InputError(f"expected inwards < 1, as a share of the distance, got {inwards}")
    search = Boundary(
        queries=count(queries, "queries", 2),
        aside=positive(aside, "aside"),
        inwards=inwards,
        factor=factor,
        every=count(every, "every"),
        memory=count(memory, "memory"),
        converged=positive(converged, "converged"),
    )
    return Attack(
        name="boundary", threat=smallest(threat, "boundary", "L2"), rule=search, targeted=targeted, goal=Nearest()
    )
