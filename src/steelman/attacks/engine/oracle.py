"""What stands between an attack and the victim: it shows candidates, counts passes and keeps each sample's best."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from steelman.attacks.engine.estimators import Ascend, Estimator
from steelman.attacks.engine.goals import Goal
from steelman.attacks.engine.problem import Problem, put, take
from steelman.victim import Answer, Victim


class Tally(NamedTuple):
    """What is known of every sample, all (N, …): its best candidate, that one's margin and distance, and its cost.

    natural: broken before any move.  forwards, backwards: passes of the model spent on the sample.
    """

    x: Tensor
    margin: Tensor
    distance: Tensor
    natural: Tensor
    forwards: Tensor
    backwards: Tensor


class BudgetError(RuntimeError):
    """A defect of an attack: it asked for more than its query budget."""


class Oracle:
    """Answers an attack and remembers, for every sample of a problem, the best candidate that was shown.

    Rows, (M,) int64, name the samples that M candidates, (M, *S), belong to; one sample may stand in several rows.
    slots: how many candidates are in the model at once.
    queries: how many forward passes a sample may cost, None for any number.
    same: (N,) int64, where the samples are attempts at fewer: equal for those at one, in their order; else None.
    """

    def __init__(
        self,
        victim: Victim,
        problem: Problem,
        *,
        goal: Goal,
        estimator: Estimator,
        slots: int,
        queries: int | None = None,
    ) -> None:
        self.victim = victim
        self.problem = problem
        self.goal = goal
        self.estimator = estimator
        self.slots = slots
        self.queries = queries
        self.same: Tensor | None = None
        self.tally = _blank(problem)

    @property
    def done(self) -> Tensor:
        """(N,) bool: which samples need no more candidates."""
        spared = self.tally.natural if self.goal.spares else torch.zeros_like(self.tally.natural)
        if not self.goal.leaves:
            return spared
        broken = self.tally.margin > 0
        if self.same is not None:  # what an earlier attempt has broken, later ones need not
            place = torch.arange(len(broken), device=broken.device)
            first = torch.full_like(place, len(place)).scatter_reduce(
                0, self.same, torch.where(broken, place, len(place)), "amin"
            )
            broken = place >= first[self.same]
        return spared | broken

    def left(self, rows: Tensor) -> Tensor:
        """Returns (M,), int64: how many more queries the sample of each row may cost."""
        if self.queries is None:
            return torch.full_like(rows, torch.iinfo(torch.int64).max)
        return self.queries - self.tally.forwards[rows]

    def look_at_clean(self) -> None:
        """Shows every sample as it stands, and notes the logits and what is broken already."""
        x = self.problem.x
        logits = self.look(torch.arange(len(x), device=x.device), x)
        self.problem = self.problem._replace(logits=logits)
        self.tally.natural.copy_(self.victim.margin(logits, self.problem.y) > 0)

    def look(self, rows: Tensor, x: Tensor, problem: Problem | None = None) -> Tensor:
        """Returns (M, K): the logits of candidates, and keeps the best of them.

        problem: of the rows, where the caller has it and each sample stands in one row alone.
        Raises BudgetError if that costs a sample more queries than it has.
        """
        parts = []
        for at in range(0, len(rows), self.slots):
            ids, own = rows[at : at + self.slots], problem if len(rows) <= self.slots else None
            shown = self._snapped(ids, x[at : at + self.slots])
            before = self.victim.forwards
            logits = self.estimator.look(self.victim, shown, self.problem.y[ids])
            self._count(ids, self.victim.forwards - before, 0)
            self._keep(ids, own, shown, self.victim.margin(logits, self.problem.y[ids]))
            parts.append(logits)
        return torch.cat(parts)

    def breaks(self, rows: Tensor, x: Tensor) -> Tensor:
        """Returns (M,) bool: whether each candidate is broken; the decision alone, and keeps the best of them.

        Raises BudgetError if that costs a sample more queries than it has.
        """
        return self.victim.margin(self.look(rows, x), self.problem.y[rows]) > 0

    def answer(self, rows: Tensor, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer:
        """Returns logits, value and gradient at candidates, (M, *S) and at most `slots`, and keeps the best of them.

        problem: of the rows, whose streams an estimator draws from.
        """
        shown = self._snapped(rows, x)
        before = self.victim.forwards, self.victim.backwards
        answer = self.estimator.answer(self.victim, problem, shown, k, ascend)
        self._count(rows, self.victim.forwards - before[0], self.victim.backwards - before[1])
        self._keep(rows, problem, shown, self.victim.margin(answer.logits, problem.y))
        return answer

    def judge_again(self, victim: Victim) -> None:
        """Replaces the margins by what another victim, opened in full precision, says of what was kept."""
        for rows in torch.arange(len(self.problem.x), device=self.problem.x.device).split(self.slots):
            before = victim.forwards
            y = self.problem.y[rows]
            margin = victim.margin(self.estimator.look(victim, self.tally.x[rows], y), y)
            self.tally.margin[rows] = margin.to(self.tally.margin.dtype)
            self.tally.forwards[rows] += (victim.forwards - before) // len(rows)

    def part(self, rows: Tensor) -> Oracle:
        """Returns an oracle of some of the samples, each once, as a problem of its own."""
        own = Oracle(
            self.victim,
            take(self.problem, rows),
            goal=self.goal,
            estimator=self.estimator,
            slots=self.slots,
            queries=self.queries,
        )
        own.tally = take(self.tally, rows)
        return own

    def merge(self, rows: Tensor, part: Oracle) -> None:
        """Takes over what an oracle of some of the samples has found."""
        put(self.tally, rows, part.tally)

    def wave(self, rows: Tensor) -> Oracle:
        """Returns an oracle of several attempts at some of the samples, each a sample of its own.

        rows: (M,), the sample of each attempt, those at one beside each other and in their order.
        """
        own = self.part(rows)
        own.same = rows.unique_consecutive(return_inverse=True)[1]
        return own

    def merge_wave(self, rows: Tensor, part: Oracle) -> None:
        """Takes over what an oracle of several attempts has found, as if they had come one by one."""
        before = take(self.tally, rows)
        for name in ("forwards", "backwards"):
            spent = getattr(part.tally, name) - getattr(before, name)
            getattr(self.tally, name).index_add_(0, rows, spent)
        if not len(rows):
            return
        _, counts = rows.unique_consecutive(return_counts=True)
        firsts = counts.cumsum(0) - counts
        for turn in range(int(counts.max())):
            own = (firsts + turn)[counts > turn]
            ids = rows[own]
            known = take(self.tally, ids)
            margin, distance = part.tally.margin[own], part.tally.distance[own]
            better = self.goal.better(margin, distance, known.margin, known.distance) & ~self.done[ids]
            chosen = ids[better]
            for name in ("x", "margin", "distance"):
                getattr(self.tally, name)[chosen] = getattr(part.tally, name)[own[better]]

    def _snapped(self, rows: Tensor, x: Tensor) -> Tensor:
        threat = self.problem.threat
        return x if threat.levels is None else threat.take(rows).snap(x, around=self.problem.x[rows])

    def _count(self, rows: Tensor, forwards: int, backwards: int) -> None:
        one = torch.ones_like(rows)
        self.tally.forwards.index_add_(0, rows, one * (forwards // len(rows)))
        self.tally.backwards.index_add_(0, rows, one * (backwards // len(rows)))
        if self.queries is not None and bool((self.tally.forwards[rows] > self.queries).any()):
            raise BudgetError(f"more than {self.queries} queries for a sample")

    def _keep(self, rows: Tensor, problem: Problem | None, x: Tensor, margin: Tensor) -> None:
        """Keeps what is better than the best so far; nothing outside the threat is ever kept.

        problem: of the rows, each sample in one alone; None where that is not known.
        """
        threat = self.problem.threat.take(rows) if problem is None else problem.threat
        distance = threat.distance(x, around=self.problem.x[rows] if problem is None else problem.x)
        margin = margin.to(self.tally.margin.dtype)
        better = self.goal.better(margin, distance, self.tally.margin[rows], self.tally.distance[rows])
        better &= threat.reaches(distance)
        kept = better.nonzero().squeeze(1)
        if problem is None:
            kept = self._firsts(rows, kept, margin, distance)
        chosen = rows[kept]
        self.tally.x[chosen] = x[kept]
        self.tally.margin[chosen] = margin[kept]
        self.tally.distance[chosen] = distance[kept]

    def _firsts(self, rows: Tensor, kept: Tensor, margin: Tensor, distance: Tensor) -> Tensor:
        """Of a sample's several candidates the one that looking at them in turn would keep, in pairs as in a cup."""
        kept = kept[rows[kept].argsort(stable=True)]
        while len(kept):
            _, counts = rows[kept].unique_consecutive(return_counts=True)
            if int(counts.max()) == 1:
                break
            firsts = (counts.cumsum(0) - counts).repeat_interleave(counts)
            later = ((torch.arange(len(kept), device=rows.device) - firsts) % 2 == 1).nonzero().squeeze(1)
            one, other = kept[later - 1], kept[later]
            wins = self.goal.better(margin[other], distance[other], margin[one], distance[one])
            stay = torch.ones_like(kept, dtype=torch.bool)
            stay[torch.where(wins, later - 1, later)] = False
            kept = kept[stay]
        return kept


def _blank(problem: Problem) -> Tally:
    x = problem.x
    like = x.new_zeros(len(x))
    count = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return Tally(x.clone(), like - torch.inf, like.clone(), count.bool(), count.clone(), count.clone())
