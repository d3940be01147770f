"""Auto-PGD in L1: sparse steps whose sparsity follows the best candidate, projected onto ball and box at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, count, where
from steelman.norms import column as radii
from steelman.norms import l1_in_box

SHRUNK = 1.5
SHORTEST = 0.1


class Sparse(NamedTuple):
    """What a sample knows of its own climb; best_* are of the highest candidate since its ball last changed.

    best, best_grad: (N, *S).  size: (N,), of a step, as a share of the ball's radius.
    share: (N,), of the entries, how many a step moves.  changed: (N,), how many entries the best candidate had
    changed at the last checkpoint.
    """

    best: Tensor
    best_grad: Tensor
    best_value: Tensor
    size: Tensor
    share: Tensor
    changed: Tensor


@dataclass(frozen=True, kw_only=True)
class AutoPgdL1:
    """Auto-PGD in L1, in one ball or in several that shrink to eps.

    stages: (radius as a share of eps, moves in it), the last radius being 1. Between two stages one more move brings
    the best candidate into the smaller ball.
    """

    stages: tuple[tuple[float, int], ...]

    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = False

    @property
    def steps(self) -> int:
        """How many moves, those between two stages counted."""
        return sum(moves + 1 for _, moves in self.stages) - 1

    def start(self, problem: Problem) -> tuple[Tensor, Sparse]:
        """Returns the nearest point of the first ball to a normal draw around each image, and what is known there."""
        noise = problem.streams.derive("start").normal(problem.x)
        x = _inside(problem, problem.x + noise, self.stages[0][0])
        entries = problem.x[0].numel()
        full = x.new_full((len(x),), entries)
        begun = Sparse(x, torch.zeros_like(x), full - torch.inf, torch.ones_like(full), full * 0 + 0.2, full)
        return x, begun if len(self.stages) == 1 else _begun(begun, problem, x)

    def move(self, problem: Problem, state: Sparse, probe: Probe) -> tuple[Tensor, Sparse]:
        """Returns the next candidates: a step over the entries of the largest gradients, then the nearest point."""
        first = (0, *accumulate(moves + 1 for _, moves in self.stages[:-1]))
        began = self._by_stage(probe.k, first, first)
        every = self._by_stage(probe.k, first, [max(int(0.04 * moves), 1) for _, moves in self.stages])
        radius = self._by_stage(probe.k, first, [share for share, _ in self.stages]).to(probe.x.dtype)
        x, grad, state = probe.x, probe.grad, _met(state, probe)
        due = (probe.k > began) & ((probe.k - began) % every == 0)
        if bool(due.any()):
            x, grad, state = _checked(problem, state, due, x, grad)
        size = column(state.size * radius, x) * radii(problem.threat.eps, x)
        moved = _inside(problem, _sparse_sign(grad, state.share).mul_(size).add_(x), radius)
        for at, (smaller, _) in zip(first[1:], self.stages[1:], strict=True):
            last = probe.k == at - 1
            if bool(last.any()):
                moved = where(last, _inside(problem, state.best, smaller), moved)
                afresh = _begun(state, problem, moved)
                state = Sparse(*(where(last, new, old) for new, old in zip(afresh, state, strict=True)))
        return moved, state

    @staticmethod
    def _by_stage(k: Tensor, first: tuple[int, ...], values: tuple[int, ...] | list[float] | list[int]) -> Tensor:
        """(N,): the value of the stage that each sample's move k falls into."""
        picked = torch.full(k.shape, values[0], device=k.device)
        for begin, value in zip(first[1:], values[1:], strict=True):
            picked = torch.where(k >= begin, value, picked)
        return picked


def shrinking(steps: int) -> tuple[tuple[float, int], ...]:
    """Returns the stages of AutoAttack in L1: 3 eps, 2 eps and eps for 30, 30 and 40 % of the steps.

    Raises InputError for fewer than 5 steps.
    """
    part = math.ceil(0.3 * count(steps, "steps of an attack that shrinks its ball", least=5))
    return ((3.0, part), (2.0, part), (1.0, steps - 2 * part))


def _inside(problem: Problem, x: Tensor, radius: float | Tensor) -> Tensor:
    """The nearest image of the box in a ball of a share of eps, one for all samples or (N,)."""
    threat, clean = problem.threat, problem.x
    wide = radius if isinstance(radius, float) else column(radius, x)
    eps = torch.as_tensor(radii(threat.eps, x) * wide, dtype=x.dtype, device=x.device).expand(
        len(x), *[1] * (x.dim() - 1)
    )
    delta = l1_in_box(x - clean, eps.flatten(), threat.low - clean, threat.high - clean)
    return delta.add_(clean).clamp_(threat.low, threat.high)


def _sparse_sign(grad: Tensor, share: Tensor) -> Tensor:
    """(N, *S): steps of L1 norm one, even over each sample's share of the largest gradients; zero where grad is."""
    flat = grad.flatten(1)
    size, entries = flat.abs(), flat.shape[1]
    kept = entries - ((1 - share) * entries).long().clamp(0, entries - 1)
    top = size.topk(int(kept.max()), dim=1).values
    chosen = flat.sign() * (size >= top.gather(1, kept[:, None] - 1))
    return chosen.div_(chosen.abs().sum(1, keepdim=True).clamp_min_(1)).view_as(grad)


def _begun(state: Sparse, problem: Problem, x: Tensor) -> Sparse:
    """What is known at the first candidate of a ball, whose sparsity the steps there take over."""
    changed = _changed(problem, x)
    return state._replace(
        best_value=torch.full_like(state.best_value, -torch.inf),
        size=torch.ones_like(state.size),
        share=changed / x[0].numel() / SHRUNK,
        changed=changed,
    )


def _met(state: Sparse, probe: Probe) -> Sparse:
    """Notes whether the last move led to the highest candidate so far."""
    value = probe.value.to(state.best_value.dtype)
    higher = value > state.best_value
    return state._replace(
        best=where(higher, probe.x, state.best),
        best_grad=where(higher, probe.grad, state.best_grad),
        best_value=torch.where(higher, value, state.best_value),
    )


def _checked(problem: Problem, state: Sparse, due: Tensor, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Sparse]:
    """Where a checkpoint is due: steps as sparse as the best candidate, long again where that became sparser."""
    changed = _changed(problem, state.best)
    sparser = due & (changed / state.changed < 0.95)
    size = torch.where(sparser, 1, (state.size / SHRUNK).clamp_min(SHORTEST))
    known = state._replace(
        size=torch.where(due, size, state.size),
        share=torch.where(due, changed / x[0].numel() / SHRUNK, state.share),
        changed=torch.where(due, changed, state.changed),
    )
    return where(sparser, state.best, x), where(sparser, state.best_grad, grad), known


def _changed(problem: Problem, x: Tensor) -> Tensor:
    return (x != problem.x).flatten(1).sum(1).to(x.dtype)
