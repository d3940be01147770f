"""The strongest answer at the least cost: a cascade of our own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.apgd import apgd
from steelman.attacks.attack import Attack
from steelman.attacks.cascade import Cascade
from steelman.attacks.engine.guides import EachTarget, Guide
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.engine.schedules import Start, at_blocks, at_input, at_random
from steelman.attacks.reprs import by_name
from steelman.attacks.settings import column, inside
from steelman.attacks.square import square
from steelman.losses import Loss, cross_entropy, margin, margin_targeted
from steelman.norms import Ball
from steelman.norms import column as radii
from steelman.threat import Threat


@dataclass(frozen=True, kw_only=True)
class Settling:
    """Steepest ascent with momentum whose steps shrink from eps to a twentieth of it.

    momentum: how much of a move is the new step, the rest is the last move.
    """

    steps: int
    start_at: Start
    momentum: float = 0.75
    first: float = 1.0
    last: float = 0.05

    asks: ClassVar[Asks] = Asks.GRADIENTS

    __repr__ = by_name

    @property
    def from_input(self) -> bool:
        """Whether it starts at the clean image."""
        return self.start_at is at_input

    def start(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Returns the first candidates, and the same as what was before them."""
        x = self.start_at(problem)
        return x, x.clone()

    def move(self, problem: Problem, state: Tensor, probe: Probe) -> tuple[Tensor, Tensor]:
        """Returns the next candidates, and those that they come from."""
        threat, x = problem.threat, probe.x
        share = self.first * (self.last / self.first) ** (probe.k / max(1, self.steps - 1))
        size = column(share, x) * radii(threat.eps, x)
        up = threat.project(threat.steepest(probe.grad, at=x).mul_(size).add_(x), around=problem.x)
        weight = column(torch.where(probe.k > 0, self.momentum, 1.0), x)
        moved = x.lerp(up, weight).add_((1 - weight) * (x - state))
        return threat.project(moved, around=problem.x), x


def standard(threat: Threat | Ball, *, queries: int = 5000) -> Cascade:
    """Returns our cascade: what it breaks at a fraction of AutoAttack's passes is no less, as results/ shows.

    Steepest ascent on the margin, which no scale of the logits flattens, lets the easy images go in a few steps, and on
    cross-entropy, which looks at all classes at once, a few more. Then four climbs from images that are lighter and
    darker in blocks, which get past flat losses that random starts do not. What is left whole is as a rule far from
    breaking. Images whose margin came within 70 % of its clean value are attacked on towards every class, and the few
    that then are within 35 % of it from twenty more starts and by scores alone; in L2 and L1, where the margin falls
    more evenly, within 10 and 5 %. On those within 5 % there are nine longer climbs, and in Linf and L2 Auto-PGD
    towards the three nearest classes.
    threat: Linf, L2 or L1.  queries: that the last part may spend on an image.
    Source: ours; starts as in Andriushchenko et al. 2020 (Square), momentum as in Croce & Hein 2020.
    """
    threat = inside(threat, "standard", "Linf", "L2", "L1")
    blocks, dense = at_random if threat.ball.sparse else at_blocks, threat.ball.name == "Linf"

    def climb(name: str, steps: int, start: Start, restarts: int = 1, loss: Loss | Guide = margin) -> Attack:
        return Attack(
            name=name, threat=threat, rule=Settling(steps=steps, start_at=start), loss=loss, restarts=restarts
        )

    parts = [
        (climb("climb", 20, at_input), 1.0),
        (climb("climb on cross-entropy", 20, at_input, loss=cross_entropy), 1.0),
        (climb("climb from blocks", 40, blocks, restarts=4), 1.0),
        (climb("climb to each class", 25, at_random, loss=EachTarget(margin_targeted)), 0.7),
        (climb("more climbs from blocks", 40, blocks, restarts=20), 0.35 if dense else 0.1),
        (climb("longer climbs from blocks", 100, blocks, restarts=9), 0.05),
        (square(threat, queries=queries), 0.35 if dense else 0.05),
    ]
    if not threat.ball.sparse:
        aimed = replace(apgd(threat), name="apgd to the nearest classes", loss=EachTarget(margin_targeted, most=3))
        parts.insert(-1, (aimed, 0.05))
    return Cascade(
        name="standard",
        threat=threat,
        attacks=tuple(attack for attack, _ in parts),
        near=tuple(share for _, share in parts),
    )
