"""Carlini & Wagner's L0 attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.carlini_wagner.tanh_space import Adam, side, slope, to_image, to_variable
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, where


class Freeing(NamedTuple):
    """The state of CarliniL0, samples first.

    adam: moments of the variables.  free: (N, *S) bool, which entries may change.  t: (N,), int64, moves
    with this c and these entries.  c: (N,).  before: (N,), the objective when it was last checked.
    """

    adam: Adam
    free: Tensor
    t: Tensor
    c: Tensor
    before: Tensor


@dataclass(frozen=True, kw_only=True)
class CarliniL0:
    """Breaks the sample as CarliniL2 does, fixes the entries that did least for it at their clean values, and repeats.

    per_search: moves with one c.  size: Adam's learning rate.  first, factor, largest: of c, which grows where a search
    fails; then the sample is done.  confidence, checks: as CarliniL2's.
    """

    per_search: int
    size: float
    first: float
    factor: float
    largest: float
    confidence: float
    checks: int

    from_input: ClassVar[bool] = True
    asks: ClassVar[Asks] = Asks.GRADIENTS
    steps: ClassVar[int] = 2**62  # c grows and free entries are fixed to their ends, whichever comes first

    def start(self, problem: Problem) -> tuple[Tensor, Freeing]:
        """Returns the clean images, and the state with all entries free."""
        x = problem.x
        one, t = x.new_ones(len(x)), torch.zeros_like(problem.y)
        free = torch.ones_like(x).bool()
        return x.clone(), Freeing(Adam.zeros(x), free, t, self.first * one, one * torch.inf)

    def move(self, problem: Problem, state: Freeing, probe: Probe) -> tuple[Tensor, Freeing]:
        """Returns the next candidates: one step of Adam on the free entries."""
        state, _ = self._next(problem, state, probe)
        long = side(problem.threat)
        x = torch.where(state.free, probe.x, problem.x)
        pull = torch.where(probe.value < self.confidence + 0.01, state.c, 0)
        descent = (x - problem.x).mul_(2 / long**2).sub_(column(pull, x) * probe.grad).mul_(slope(x, problem.threat))
        step, adam = state.adam.step(descent.mul_(state.free), self.size)
        image = torch.where(state.free, to_image(to_variable(x, problem.threat) + step, problem.threat), problem.x)
        image = problem.threat.project(image, around=problem.x)
        return image, state._replace(adam=adam, t=state.t + 1)

    def done(self, problem: Problem, state: Freeing, probe: Probe) -> Tensor:
        """Returns (N,) bool: who has no free entry left, or too large a c."""
        return self._next(problem, state, probe)[1]

    def _next(self, problem: Problem, state: Freeing, probe: Probe) -> tuple[Freeing, Tensor]:
        """The state after what was shown, and whether the sample is done."""
        moved = (probe.x - problem.x) / side(problem.threat)
        solved = (probe.margin > 0) & (probe.value >= self.confidence)
        loss = moved.flatten(1).square().sum(1) + state.c * (self.confidence + 0.01 - probe.value).clamp_min(0)
        due = (state.t % max(1, self.per_search // max(1, self.checks)) == 0) & (state.t > 0)
        failed = ~solved & ((state.t >= self.per_search) | (due & (loss > 0.9999 * state.before) & bool(self.checks)))
        over = solved | failed
        c = torch.where(failed, self.factor * state.c, state.c)
        free, adam = state.free, state.adam
        if bool(over.any()):
            adam = adam.begun(over)
            free = where(solved, free & ~least_useful(free, probe.grad * moved, moved), free)
        before = torch.where(due, loss, state.before).masked_fill(over, torch.inf)
        done = ~free.flatten(1).any(1) | (c >= self.largest)
        return Freeing(adam, free, state.t.masked_fill(over, 0), c, before), done


def least_useful(free: Tensor, use: Tensor, moved: Tensor) -> Tensor:
    """Returns (N, *S) bool: the free entries to fix: those that have not moved, and of the others the least useful.

    use: (N, *S), what each entry did for the loss: gradient times change. Of n entries that moved .3 sqrt(n) are fixed
    at once, and none beyond the first that did a hundredth of the whole.
    Source: Carlini & Wagner 2017, section VI-B, and its code, but that unchanged entries go at once.
    """
    flat, worth = free.flatten(1), use.flatten(1)
    idle = flat & (moved.flatten(1).abs() < 1e-4)
    changed = flat & ~idle
    worth = worth.masked_fill(~changed, torch.inf)
    order = worth.argsort(dim=1, stable=True)
    rank = order.argsort(dim=1)
    few = 0.3 * changed.sum(1, keepdim=True).to(worth.dtype).sqrt()
    whole = worth.masked_fill(~changed, 0).clamp_min(0).sum(1, keepdim=True)
    light = (rank < few) & (worth <= 0.01 * whole)
    return (idle | (changed & (light | (rank == 0)))).view_as(free)
