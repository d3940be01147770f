"""The box-constrained L-BFGS attack, the first of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.bracket import Bracket, by_slope
from steelman.attacks.carlini_wagner.tanh_space import side
from steelman.attacks.engine.goals import Nearest
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import count, positive, smallest, where
from steelman.losses import cross_entropy, log_rest
from steelman.norms import Ball
from steelman.threat import Threat


class Curving(NamedTuple):
    """The state of QuasiNewton; D entries of S, in one row.

    point, slope: (N, D), the iterate and the gradient of the objective there.  value: (N,), the objective there.
    moves, turns: (N, m, D), the last changes of point and slope.  kept: (N,), int64, how many there were.
    way: (N, D), the step tried.  share: (N,), how much of it.  first: (N, D) and loss: (N,), of the clean image.
    t: (N,), int64, looks of this search.  bracket: of c.  broken: (N,) bool, whether this search broke the sample.
    """

    point: Tensor
    slope: Tensor
    value: Tensor
    moves: Tensor
    turns: Tensor
    kept: Tensor
    way: Tensor
    share: Tensor
    first: Tensor
    loss: Tensor
    t: Tensor
    bracket: Bracket
    broken: Tensor


@dataclass(frozen=True, kw_only=True)
class QuasiNewton:
    """Minimises |x - clean|^2 - c value inside the box by projected L-BFGS, for one c after another.

    searches: how many c.  per_search: looks of each.  memory: pairs that the curvature is told from.
    first: the first c, told by slope unless given; factor: to the next while none breaks the sample.
    tolerance: of the objective, in parts of it, under which a search is over.
    """

    searches: int
    per_search: int
    memory: int
    first: float | None
    factor: float
    tolerance: float

    from_input: ClassVar[bool] = True
    asks: ClassVar[Asks] = Asks.GRADIENTS

    @property
    def steps(self) -> int:
        """Looks of all searches together."""
        return self.searches * self.per_search

    def start(self, problem: Problem) -> tuple[Tensor, Curving]:
        """Returns the clean images, and the state before the first search."""
        flat, t = problem.x.flatten(1), torch.zeros_like(problem.y)
        none, one = torch.zeros_like(flat), flat.new_ones(len(flat))
        past = flat.new_zeros(len(flat), self.memory, flat.shape[1])
        bracket = Bracket.begin(flat)
        return problem.x.clone(), Curving(
            flat.clone(), none, one, past, past.clone(), t, none, one, none, one, t, bracket, t.bool()
        )

    def move(self, problem: Problem, state: Curving, probe: Probe) -> tuple[Tensor, Curving]:
        """Returns the next candidates: a step along a new direction, or a shorter one along the last."""
        fresh = probe.k == 0
        grad = probe.grad.flatten(1) * side(problem.threat)
        if bool(fresh.any()):
            state = self._opened(state, fresh, probe, grad)
        accepted, over = self._judged(problem, state, probe)
        accepted = accepted & ~fresh
        over = over & ~fresh
        state = self._kept(problem, state, probe, grad, accepted)
        broken = state.broken | (probe.margin > 0)
        state = self._begun(
            problem, state._replace(bracket=state.bracket.after(over, broken, self.factor)), over | fresh
        )
        way = _descent(problem, state)
        turn = accepted | over | fresh
        way = torch.where(turn[:, None], way, state.way)
        share = torch.where(turn, 1.0, 0.5 * state.share)
        image = _clipped(problem, state.point + side(problem.threat) * share[:, None] * way)
        t = state.t.masked_fill(over, 0) + 1
        return image.view_as(problem.x), state._replace(way=way, share=share, t=t, broken=broken & ~over)

    def done(self, problem: Problem, state: Curving, probe: Probe) -> Tensor:
        """Returns (N,) bool: whose last search is over."""
        last = (state.bracket.turn + 1 >= self.searches) | state.bracket.within(0.01)
        if not bool(last.any()):
            return last
        return last & (probe.k > 0) & self._judged(problem, state, probe)[1]

    def _judged(self, problem: Problem, state: Curving, probe: Probe) -> tuple[Tensor, Tensor]:
        """Whether a candidate is a step forward (Armijo), and whether its search is over with it."""
        value = _objective(problem, state, probe)
        moved = (probe.x.flatten(1) - state.point) / side(problem.threat)
        accepted = value <= state.value + 1e-4 * (state.slope * moved).sum(1)
        gain = state.value - value
        flat = accepted & (gain <= self.tolerance * torch.maximum(value.abs(), state.value.abs()))
        lost = ~accepted & (state.share < 1e-5)
        return accepted, (state.t >= self.per_search) | flat | lost

    def _opened(self, state: Curving, fresh: Tensor, probe: Probe, grad: Tensor) -> Curving:
        """The state of samples whose clean image has just been shown, with what was answered there."""
        if self.first is None:
            # The loss has the slope of the logits times the probability that is missing, a half of it at the boundary.
            missing = (-torch.expm1(probe.value)).clamp_min(torch.finfo(grad.dtype).eps)
            c = 2 * by_slope((-probe.margin).clamp_min(0).to(grad.dtype), grad / missing[:, None], 1e-2)
        else:
            c = torch.full_like(state.loss, self.first)
        return state._replace(
            first=where(fresh, grad, state.first),
            loss=torch.where(fresh, probe.value, state.loss),
            bracket=state.bracket.opened(fresh, c),
        )

    def _kept(self, problem: Problem, state: Curving, probe: Probe, grad: Tensor, accepted: Tensor) -> Curving:
        """The state with the accepted candidates as points, and what they say of the curvature remembered."""
        long = side(problem.threat)
        point = probe.x.flatten(1)
        slope = 2 * (point - problem.x.flatten(1)) / long - state.bracket.c[:, None] * grad
        move, turn = (point - state.point) / long, slope - state.slope
        curved = (move * turn).sum(1) > 1e-10 * turn.square().sum(1)
        rows = (accepted & curved).nonzero().squeeze(1)
        place = state.kept[rows] % self.memory
        state.moves[rows, place], state.turns[rows, place] = move[rows], turn[rows]
        return state._replace(
            point=where(accepted, point, state.point),
            slope=where(accepted, slope, state.slope),
            value=torch.where(accepted, _objective(problem, state, probe), state.value),
            kept=state.kept + (accepted & curved),
        )

    def _begun(self, problem: Problem, state: Curving, again: Tensor) -> Curving:
        """The state with some samples at the clean image, without a past."""
        c = state.bracket.c
        return state._replace(
            point=where(again, problem.x.flatten(1), state.point),
            slope=where(again, -c[:, None] * state.first, state.slope),
            value=torch.where(again, -c * state.loss, state.value),
            kept=state.kept.masked_fill(again, 0),
        )


def _objective(problem: Problem, state: Curving, probe: Probe) -> Tensor:
    moved = (probe.x - problem.x).flatten(1) / side(problem.threat)
    return moved.square().sum(1) - state.bracket.c * probe.value


def _clipped(problem: Problem, flat: Tensor) -> Tensor:
    """Candidates inside the box and the ball."""
    clean = problem.x.flatten(1)
    return problem.threat.project(flat, around=clean)


def _descent(problem: Problem, state: Curving) -> Tensor:
    """(N, D): the quasi-Newton direction among the entries that the box does not stop, in sides of the box.

    Source: Nocedal & Wright 2006, algorithm 7.4; the entries at the box's edge that would leave it are left out, as
    in Bertsekas 1982.
    """
    low, high = problem.threat.low, problem.threat.high
    stopped = ((state.point <= low) & (state.slope > 0)) | ((state.point >= high) & (state.slope < 0))
    free = ~stopped
    way = state.slope * free
    memory = state.moves.shape[1]
    rows = torch.arange(len(way), device=way.device)
    past: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    scale = torch.full_like(state.value, 0.5)
    for back in range(1, min(memory, int(state.kept.max()) if len(rows) else 0) + 1):
        there = state.kept >= back
        place = (state.kept - back) % memory
        move, turn = state.moves[rows, place] * free, state.turns[rows, place] * free
        curve = (move * turn).sum(1)
        there &= curve > 1e-10 * turn.square().sum(1)
        weight = torch.where(there, 1 / torch.where(there, curve, 1), 0)
        share = weight * (move * way).sum(1)
        way = way - share[:, None] * turn
        if back == 1:
            scale = torch.where(there, curve / turn.square().sum(1).clamp_min(1e-30), scale)
        past.append((move, turn, weight, share))
    way = way * scale[:, None]
    for move, turn, weight, share in reversed(past):
        way = way + (share - weight * (turn * way).sum(1))[:, None] * move
    downhill = (way * state.slope).sum(1) > 0
    return -torch.where(downhill[:, None], way, 0.5 * state.slope * free)


def lbfgs(
    threat: Threat | Ball,
    *,
    searches: int = 9,
    steps: int = 100,
    memory: int = 10,
    first: float | None = None,
    tolerance: float = 1e-6,
    targeted: bool = False,
) -> Attack:
    """Returns the L-BFGS attack: the smallest change for the least c at which |change|^2 + c loss breaks the sample.

    threat: L2, whose radius is how far a change may go; any size unless told.
    searches: of c.  steps: looks of each at most, those of its line search counted.  memory: of L-BFGS.
    first: the first c; unless told the one that a linear model with the same gradient would need.
    tolerance: the relative gain of a step under which a search is over.
    Raises InputError for another norm.
    Source: Szegedy et al. 2014, section 4.1; the squared distance has the same solutions as the distance, another c
    each. Loss: targeted, the cross-entropy of the class to reach; untargeted, that of all wrong classes together,
    -log(1 - p_y). The negative cross-entropy of the true class, as some libraries have it, has no floor: its minimiser
    jumps past the boundary, on a linear model to twice the smallest distance.
    """
    rule = QuasiNewton(
        searches=count(searches, "searches"),
        per_search=count(steps),
        memory=count(memory, "memory"),
        first=None if first is None else positive(first, "first"),
        factor=3.0,
        tolerance=positive(tolerance, "tolerance"),
    )
    loss = cross_entropy if targeted else log_rest
    threat = smallest(threat, "lbfgs", "L2")
    return Attack(name="lbfgs", threat=threat, rule=rule, loss=loss, targeted=targeted, goal=Nearest())
