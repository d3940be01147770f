"""Carlini & Wagner's L2 attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.bracket import Bracket, by_slope
from steelman.attacks.carlini_wagner.tanh_space import Adam, side, slope, to_image, to_variable
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, where


class Searching(NamedTuple):
    """The state of CarliniL2, samples first.

    w: (N, *S), variables.  adam: its moments; adam.t counts the moves of this search.  first: (N, *S), the gradient at
    the clean image.  bracket: of c.  broken: (N,) bool, whether this search broke the sample.  before: (N,), the
    objective when it was last checked.
    """

    w: Tensor
    adam: Adam
    first: Tensor
    bracket: Bracket
    broken: Tensor
    before: Tensor


@dataclass(frozen=True, kw_only=True)
class CarliniL2:
    """Descends |x - clean|^2 + c max(kappa - value, 0) by Adam behind a tanh, for one c after another.

    searches: how many c.  per_search: moves of each.  size: Adam's learning rate.  first: the first c, by_slope unless
    told; factor: to the next while none breaks the sample.  confidence: kappa, the margin to reach.  checks: how often
    in a search it is given up if the objective has not fallen by a ten-thousandth since the last time; 0 for never.
    warm: whether a search starts where the last one ended, or at the clean image; then no search is spared either.
    """

    searches: int
    per_search: int
    size: float
    first: float | None
    factor: float
    confidence: float
    checks: int
    warm: bool

    from_input: ClassVar[bool] = True
    asks: ClassVar[Asks] = Asks.GRADIENTS

    @property
    def steps(self) -> int:
        """Moves of all searches together."""
        return self.searches * self.per_search

    def start(self, problem: Problem) -> tuple[Tensor, Searching]:
        """Returns the clean images, and the state before the first search."""
        x = problem.x
        never, far = torch.zeros_like(problem.y).bool(), x.new_full((len(x),), torch.inf)
        w = to_variable(x, problem.threat)
        return x.clone(), Searching(w, Adam.zeros(x), torch.zeros_like(x), Bracket.begin(x), never, far)

    def move(self, problem: Problem, state: Searching, probe: Probe) -> tuple[Tensor, Searching]:
        """Returns the next candidates: one step of Adam."""
        over, broken, before = self._checked(problem, state, probe)
        state, x, value, grad = self._begun(problem, state, probe, over, broken)
        long = side(problem.threat)
        pull = torch.where(value < self.confidence + _tiny(x), state.bracket.c, 0)
        descent = (x - problem.x).mul_(2 / long**2).sub_(column(pull, x) * grad).mul_(slope(x, problem.threat))
        step, adam = state.adam.step(descent, self.size)
        image = problem.threat.project(to_image(state.w + step, problem.threat), around=problem.x)
        w = to_variable(image, problem.threat)
        return image, state._replace(w=w, adam=adam, broken=broken & ~over, before=before.masked_fill(over, torch.inf))

    def done(self, problem: Problem, state: Searching, probe: Probe) -> Tensor:
        """Returns (N,) bool: whose last search is over."""
        last = state.bracket.turn + 1 >= self.searches
        if self.warm:
            last |= state.bracket.within(0.1)
        return last & self._checked(problem, state, probe)[0] if bool(last.any()) else last

    def _checked(self, problem: Problem, state: Searching, probe: Probe) -> tuple[Tensor, Tensor, Tensor]:
        """Whether each search is over, whether it has broken its sample, and the objective at its last check."""
        t, every = state.adam.t, max(1, self.per_search // self.checks) if self.checks else self.per_search
        distance = (probe.x - problem.x).flatten(1).square().sum(1) / side(problem.threat) ** 2
        loss = distance + state.bracket.c * (self.confidence - probe.value).clamp_min(0)
        due = (t % every == 0) & (t > 0)
        stuck = due & (loss > 0.9999 * state.before) & bool(self.checks)
        broken = state.broken | (probe.margin > 0) & (probe.value >= self.confidence)
        return (t >= self.per_search) | stuck, broken, torch.where(due, loss, state.before)

    def _begun(
        self, problem: Problem, state: Searching, probe: Probe, over: Tensor, broken: Tensor
    ) -> tuple[Searching, Tensor, Tensor, Tensor]:
        """The state after the searches that are over, and where, with what value and gradient, the next move starts.

        The clean image need not be shown again: its gradient is kept.
        """
        bracket, fresh = state.bracket.after(over, broken, self.factor), probe.k == 0
        if bool(fresh.any()):
            gap = (self.confidence - probe.value).clamp_min(0)
            c = by_slope(gap, side(problem.threat) * probe.grad, 1e-3) if self.first is None else self.first
            bracket = bracket.opened(fresh, c)
            state = state._replace(first=where(fresh, probe.grad, state.first))
        state = state._replace(bracket=bracket)
        x, value, grad = probe.x, probe.value, probe.grad
        if bool(over.any()):
            state = state._replace(adam=state.adam.begun(over))
            if not self.warm:
                x, grad = where(over, problem.x, x), where(over, state.first, grad)
                value = value.masked_fill(over, -torch.inf)
                state = state._replace(w=where(over, to_variable(x, problem.threat), state.w))
        return state, x, value, grad


def _tiny(x: Tensor) -> float:
    return torch.finfo(x.dtype).tiny
