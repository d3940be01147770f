"""The elastic-net attack: a small L1 change, by iterative shrinkage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.bracket import Bracket
from steelman.attacks.carlini_wagner.cw import goal_of
from steelman.attacks.carlini_wagner.tanh_space import side
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, count, positive, smallest, where
from steelman.losses import margin
from steelman.norms import Ball
from steelman.threat import Threat


class Shrinking(NamedTuple):
    """The state of ElasticNet, samples first.

    last: (N, *S), the iterate before extrapolation.  first: (N, *S), the gradient at the clean image.  t: (N,), int64,
    moves of this search.  bracket: of c.  broken: (N,) bool, whether this search broke the sample.
    before: (N,), the objective when it was last checked.
    """

    last: Tensor
    first: Tensor
    t: Tensor
    bracket: Bracket
    broken: Tensor
    before: Tensor


@dataclass(frozen=True, kw_only=True)
class ElasticNet:
    """FISTA on |x - clean|^2 + beta |x - clean|_1 + c max(kappa - value, 0), for one c after another.

    searches: how many c.  per_search: moves of each.  size: of the first step; the others fall as the root of what is
    left.  first, factor: of c.  beta: the weight of L1, and what a step shrinks every change by.
    confidence, warm: as CarliniL2's.  checks: too, but a search that has broken its sample is never given up: its last
    and smallest steps are those that make the change small.
    """

    searches: int
    per_search: int
    size: float
    first: float
    factor: float
    beta: float
    confidence: float
    checks: int
    warm: bool

    from_input: ClassVar[bool] = True
    asks: ClassVar[Asks] = Asks.GRADIENTS

    @property
    def steps(self) -> int:
        """Moves of all searches together."""
        return self.searches * self.per_search

    def start(self, problem: Problem) -> tuple[Tensor, Shrinking]:
        """Returns the clean images, and the state before the first search."""
        x = problem.x
        never, far = torch.zeros_like(problem.y).bool(), x.new_full((len(x),), torch.inf)
        bracket = Bracket.begin(x)
        return x.clone(), Shrinking(x.clone(), x.clone(), torch.zeros_like(problem.y), bracket, never, far)

    def move(self, problem: Problem, state: Shrinking, probe: Probe) -> tuple[Tensor, Shrinking]:
        """Returns the next candidates: a step, shrunk towards the clean image, and extrapolated."""
        clean, long, fresh = problem.x, side(problem.threat), probe.k == 0
        over, broken, before = self._checked(problem, state, probe)
        bracket = state.bracket.opened(fresh, self.first).after(over, broken, self.factor)
        first = where(fresh, probe.grad, state.first) if bool(fresh.any()) else state.first
        again = over & (not self.warm)
        x, grad = where(again, clean, probe.x), where(again, first, probe.grad)
        last, t = where(again, clean, state.last), state.t.masked_fill(over, 0)
        pull = torch.where(again | (probe.value < self.confidence), bracket.c, 0)
        part = t.to(x.dtype) / self.per_search
        rate = column(self.size * (1 - part).clamp_min(0).sqrt(), x)
        moved = (x - clean) / long
        moved = moved - rate * (2 * moved - column(pull, x) * long * grad)
        moved = moved.sign() * (moved.abs() - self.beta).clamp_min_(0)
        ahead = problem.threat.project(clean + long * moved, around=clean)
        shown = ahead + column(t.to(x.dtype) / (t + 3), x) * (ahead - last)
        state = Shrinking(ahead, first, t + 1, bracket, broken & ~over, before.masked_fill(over, torch.inf))
        return problem.threat.project(shown, around=clean), state

    def done(self, problem: Problem, state: Shrinking, probe: Probe) -> Tensor:
        """Returns (N,) bool: whose last search is over."""
        last = state.bracket.turn + 1 >= self.searches
        if self.warm:
            last |= state.bracket.within(0.1)
        return last & self._checked(problem, state, probe)[0] if bool(last.any()) else last

    def _checked(self, problem: Problem, state: Shrinking, probe: Probe) -> tuple[Tensor, Tensor, Tensor]:
        """Whether each search is over, whether it has broken its sample, and the objective at its last check."""
        t, every = state.t, max(1, self.per_search // max(1, self.checks))
        moved = ((probe.x - problem.x) / side(problem.threat)).flatten(1)
        missing = (self.confidence - probe.value).clamp_min(0)
        loss = moved.square().sum(1) + self.beta * moved.abs().sum(1) + state.bracket.c * missing
        due = (t % every == 0) & (t > 0)
        broken = state.broken | (probe.margin > 0) & (probe.value >= self.confidence)
        stuck = due & ~broken & (loss > 0.9999 * state.before) & bool(self.checks)
        return (t >= self.per_search) | stuck, broken, torch.where(due, loss, state.before)


def ead(
    threat: Threat | Ball,
    *,
    beta: float = 1e-3,
    searches: int = 9,
    steps: int = 1000,
    size: float = 0.01,
    first: float = 1e-3,
    confidence: float = 0.0,
    checks: int = 10,
    warm: bool = True,
    targeted: bool = False,
) -> Attack:
    """Returns the elastic-net attack: a small L1 change, by FISTA on L2, beta times L1 and c times the missing margin.

    threat: L1, whose radius is how far a change may go; any size unless told.
    beta: the weight of L1.  searches: of c.  steps: of each.  size: of the first step.
    first: the first c, ten times as large while the sample holds.  confidence: the margin to reach, in logits.
    checks: how often in a search that has not broken its sample it is given up if it no longer gets better; 0 for
    never.
    warm: whether a search starts where the last one ended, and none is begun once c is known to a tenth; False for the
    code's, from the clean image, all of them.
    Raises InputError for another norm.
    Source: Chen et al. 2018, algorithm 1, and its code's numbers. The smallest L1 change is kept (its L1 rule). The
    victim is asked once a step, at the extrapolated point, brought into the box, which is the candidate, and not again
    at the iterate beside it. Distances are measured in sides of the box.
    """
    rule = ElasticNet(
        searches=count(searches, "searches"),
        per_search=count(steps),
        size=positive(size, "size"),
        first=positive(first, "first"),
        factor=10.0,
        beta=positive(beta, "beta"),
        confidence=confidence,
        checks=count(checks, "checks", 0),
        warm=warm,
    )
    threat = smallest(threat, "ead", "L1")
    return Attack(name="ead", threat=threat, rule=rule, loss=margin, targeted=targeted, goal=goal_of(confidence))
