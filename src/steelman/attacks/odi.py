"""Output-diversified starts: the first moves go along a random direction of the logits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.guides import Guide, guide_of
from steelman.attacks.engine.problem import Asks, Probe, Problem, Rule, put, take
from steelman.attacks.engine.schedules import OfEps, at_given, at_random
from steelman.attacks.settings import count, inside
from steelman.attacks.steepest import Steepest
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import Ball, column
from steelman.threat import Threat


@dataclass(frozen=True)
class Outputs:
    """A random direction of the logits for the first moves, and then a guide as if these had not been.

    Each sample and attempt has a direction of its own, uniform in [-1, 1] for each class.
    """

    then: Guide
    moves: int

    def ascend(self, problem: Problem, k: Tensor, logits: Tensor) -> Tensor:
        """Returns (N,): what is ascended at each sample's move."""
        direction = 2 * problem.streams.derive("outputs").uniform(logits.detach()) - 1
        later = self.then.ascend(problem, (k - self.moves).clamp_min(0), logits)
        return torch.where(k < self.moves, (direction * logits).sum(1), later)

    def targets(self, classes: int) -> int:
        """Returns what the guide returns."""
        return self.then.targets(classes)


@dataclass(frozen=True, kw_only=True)
class Diversified:
    """Moves of a whole eps from a random point, and then another rule from where they led."""

    then: Rule[Any]
    moves: int

    @property
    def steps(self) -> int:
        """How many moves in all."""
        return self.moves + self.then.steps

    @property
    def asks(self) -> Asks:
        """Gradients."""
        return Asks.GRADIENTS

    @property
    def from_input(self) -> bool:
        """No: it starts at random."""
        return False

    def start(self, problem: Problem) -> tuple[Tensor, Any]:
        """Returns a random image of each ball, and the other rule's state there."""
        x = at_random(problem)
        return x, self.then.start(problem._replace(begin=x))[1]

    def move(self, problem: Problem, state: Any, probe: Probe) -> tuple[Tensor, Any]:
        """Returns the next candidates and the other rule's state."""
        early = probe.k < self.moves
        if not bool(early.any()):
            return self.then.move(problem, state, probe._replace(k=probe.k - self.moves))
        x = torch.empty_like(probe.x)
        for chosen, mover in ((early, self._diversify), (~early, self._go_on)):
            rows = chosen.nonzero().squeeze(1)
            if len(rows):
                x[rows], own = mover(take(problem, rows), take(state, rows), take(probe, rows))
                put(state, rows, own)
        return x, state

    def _diversify(self, problem: Problem, state: Any, probe: Probe) -> tuple[Tensor, Any]:
        step = problem.threat.steepest(probe.grad, at=probe.x) * column(problem.threat.eps, probe.x)
        x = problem.threat.project(probe.x + step, around=problem.x)
        return x, self.then.start(problem._replace(begin=x))[1]

    def _go_on(self, problem: Problem, state: Any, probe: Probe) -> tuple[Tensor, Any]:
        return self.then.move(problem, state, probe._replace(k=probe.k - self.moves))


def diversified(attack: Attack, moves: int = 2) -> Attack:
    """Returns an attack that starts where a random direction of the logits leads.

    attack: one that can start at given images, as pgd(…, start=at_given).  moves: along the direction, each of eps.
    Raises InputError for an attack that starts elsewhere or has a loop of its own.
    Source: Tashiro et al. 2020 (Diversity can be transferred), section 3.1: two moves of eps.
    """
    if getattr(attack.rule, "start_at", None) is not at_given:
        raise InputError(f"expected an attack that starts at_given images, got {attack.name}: say start=at_given")
    rule = Diversified(then=cast("Rule[Any]", attack.rule), moves=count(moves, "moves"))
    return replace(attack, rule=rule, loss=Outputs(guide_of(attack.loss), moves), name=f"odi-{attack.name}")


def odi(
    threat: Threat | Ball, *, steps: int = 20, moves: int = 2, restarts: int = 20, targeted: bool = False
) -> Attack:
    """Returns ODI-PGD: PGD on the margin from output-diversified starts.

    steps: of eps / 4.  moves: of eps, along a random direction of the logits.
    Source: Tashiro et al. 2020 (Diversity can be transferred), section 3.1 and appendix, its CIFAR-10 numbers: 20
    restarts of 20 steps, of 2/255 at eps 8/255.
    """
    threat = inside(threat, "odi", "Linf", "L2")
    rule = Steepest(steps=count(steps), size=OfEps(0.25), start_at=at_given)
    plain = Attack(
        name="odi", threat=threat, rule=rule, loss=margin, targeted=targeted, restarts=count(restarts, "restarts")
    )
    return replace(diversified(plain, moves), name="odi")
