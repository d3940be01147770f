"""Carlini & Wagner's Linf attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.carlini_wagner.tanh_space import Adam, side, slope, to_image, to_variable
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column


class Tightening(NamedTuple):
    """The state of CarliniLinf, samples first.

    w: (N, *S), variables.  adam: its moments.  t: (N,), int64, moves with this c and tau.  c, tau: (N,).
    before: (N,), the objective when it was last checked.
    """

    w: Tensor
    adam: Adam
    t: Tensor
    c: Tensor
    tau: Tensor
    before: Tensor


@dataclass(frozen=True, kw_only=True)
class CarliniLinf:
    """Descends c max(kappa - value, 0) + sum max(|x - clean| - tau, 0), and shrinks tau whenever that comes to nothing.

    per_search: moves with one c.  size: Adam's learning rate.  first, factor, largest: of c, which grows where a search
    fails; then the sample is done.  shrink: what tau is multiplied with.  least: the tau, in sides of the box, below
    which no sample goes on.  confidence, checks: as CarliniL2's.
    """

    per_search: int
    size: float
    first: float
    factor: float
    largest: float
    shrink: float
    least: float
    confidence: float
    checks: int

    from_input: ClassVar[bool] = True
    asks: ClassVar[Asks] = Asks.GRADIENTS
    steps: ClassVar[int] = 2**62  # c grows and tau shrinks to their ends, whichever comes first

    def start(self, problem: Problem) -> tuple[Tensor, Tightening]:
        """Returns the clean images, and the state with tau as long as the box."""
        x = problem.x
        one = x.new_ones(len(x))
        w, t = to_variable(x, problem.threat), torch.zeros_like(problem.y)
        return x.clone(), Tightening(w, Adam.zeros(x), t, self.first * one, one, one * torch.inf)

    def move(self, problem: Problem, state: Tightening, probe: Probe) -> tuple[Tensor, Tightening]:
        """Returns the next candidates: one step of Adam, with a smaller tau or a larger c where a search is over."""
        state, _ = self._next(problem, state, probe)
        long = side(problem.threat)
        moved = (probe.x - problem.x) / long
        pull = torch.where(probe.value < self.confidence + torch.finfo(moved.dtype).tiny, state.c, 0)
        descent = torch.where(moved.abs() > column(state.tau, moved), moved.sign(), 0) / long
        descent = descent.sub_(column(pull, moved) * probe.grad).mul_(slope(probe.x, problem.threat))
        step, adam = state.adam.step(descent, self.size)
        image = problem.threat.project(to_image(state.w + step, problem.threat), around=problem.x)
        return image, state._replace(w=to_variable(image, problem.threat), adam=adam, t=state.t + 1)

    def done(self, problem: Problem, state: Tightening, probe: Probe) -> Tensor:
        """Returns (N,) bool: whose tau is small enough, or whose c is too large."""
        return self._next(problem, state, probe)[1]

    def _next(self, problem: Problem, state: Tightening, probe: Probe) -> tuple[Tightening, Tensor]:
        """The state after what was shown, and whether the sample is done."""
        moved = ((probe.x - problem.x) / side(problem.threat)).flatten(1).abs()
        lacking = (self.confidence - probe.value).clamp_min(0)
        loss = state.c * lacking + (moved - state.tau[:, None]).clamp_min(0).sum(1)
        broken = (probe.margin > 0) & (probe.value >= self.confidence)
        solved = broken & (loss < 1e-4 * state.c)
        due = (state.t % max(1, self.per_search // max(1, self.checks)) == 0) & (state.t > 0)
        failed = ~solved & ((state.t >= self.per_search) | (due & (loss > 0.9999 * state.before) & bool(self.checks)))
        tau = torch.where(solved, self.shrink * torch.minimum(state.tau, moved.amax(1)), state.tau)
        c = torch.where(failed, self.factor * state.c, state.c)
        over = solved | failed
        before = torch.where(due, loss, state.before).masked_fill(over, torch.inf)
        adam = state.adam.begun(over) if bool(over.any()) else state.adam
        done = (tau <= self.least) | (c >= self.largest)
        return Tightening(state.w, adam, state.t.masked_fill(over, 0), c, tau, before), done
