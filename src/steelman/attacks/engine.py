"""The one loop that runs every rule: a fixed number of slots, always full of samples that are not done.

The engine alone looks at candidates, keeps each sample's best, counts passes, lets what is solved leave, queues
restarts and says how far it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.goals import Goal
from steelman.attacks.gradients import Estimator
from steelman.attacks.problem import Probe, Problem, Rule, put, take
from steelman.losses import Loss
from steelman.victim import Victim


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


@dataclass(frozen=True)
class Progress:
    """What an observer hears: samples done, samples in all, samples broken."""

    done: int
    total: int
    broken: int


Observer = Callable[[Progress], None]


@dataclass
class _Slots:
    """The samples in flight. ids, attempt, k: (n,) int64."""

    ids: Tensor
    attempt: Tensor
    k: Tensor
    problem: Problem
    x: Tensor
    state: Any


def run(
    rule: Rule[Any],
    victim: Victim,
    problem: Problem,
    *,
    loss: Loss,
    goal: Goal,
    gradient: Estimator,
    restarts: int = 1,
    slots: int = 128,
    observe: Observer | None = None,
) -> Tally:
    """Returns the tally of a rule on every sample of a problem.

    A sample that is broken before any move is returned as it came, unless the goal takes every step.
    restarts: how many times a sample that holds is begun again, each from streams of its own.
    slots: how many samples are in the model at once.
    """
    total = len(problem.x)
    tally = _blank(problem)
    queue = torch.arange(total, device=problem.x.device)
    if not rule.from_input:
        queue = _look_at_clean(victim, problem, tally, goal, gradient, slots)
    attempts = torch.zeros_like(queue)
    flight, queue, attempts = _board(rule, problem, queue, attempts, slots)
    finished = total - len(queue) - len(flight.ids)
    _tell(observe, finished, tally)
    while len(flight.ids):
        probe = _look(rule, victim, flight, loss, gradient, tally)
        margin = victim.margin(probe.logits, flight.problem.y)
        _keep(tally, flight, probe, margin, goal, first=rule.from_input)
        out_of_steps = flight.k >= rule.steps
        done = out_of_steps | (tally.margin[flight.ids] > 0) if goal.leaves else out_of_steps
        again = done & (tally.margin[flight.ids] <= 0) & (flight.attempt + 1 < restarts)
        if not goal.leaves:
            again = out_of_steps & (flight.attempt + 1 < restarts)
        queue = torch.cat([queue, flight.ids[again]])
        attempts = torch.cat([attempts, flight.attempt[again] + 1])
        left = int(done.sum())
        finished += left - int(again.sum())
        if left < len(done):
            flight.x, flight.state = rule.move(flight.problem, flight.state, probe)
            flight.k = flight.k + 1
        if left:
            flight, queue, attempts = _refill(rule, problem, flight, done, queue, attempts)
        _tell(observe, finished, tally)
    return tally


def _tell(observe: Observer | None, finished: int, tally: Tally) -> None:
    if observe is not None:
        observe(Progress(finished, len(tally.x), int((tally.margin > 0).sum())))


def judge_again(tally: Tally, victim: Victim, problem: Problem, gradient: Estimator, slots: int) -> None:
    """Replaces the margins of a tally by what a victim, opened in full precision, says of its candidates."""
    for ids in torch.arange(len(problem.x), device=problem.x.device).split(slots):
        before = victim.forwards
        margin = victim.margin(gradient.look(victim, tally.x[ids], problem.y[ids]), problem.y[ids])
        tally.margin[ids] = margin.to(tally.margin.dtype)
        tally.forwards[ids] += (victim.forwards - before) // len(ids)


def _blank(problem: Problem) -> Tally:
    x = problem.x
    like = x.new_zeros(len(x))
    count = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return Tally(x.clone(), like - torch.inf, like.clone(), count.bool(), count.clone(), count.clone())


def _look_at_clean(
    victim: Victim, problem: Problem, tally: Tally, goal: Goal, gradient: Estimator, slots: int
) -> Tensor:
    """Notes what is broken as it stands and returns the indices of the samples to attack."""
    for ids in torch.arange(len(problem.x), device=problem.x.device).split(slots):
        before = victim.forwards
        margin = victim.margin(gradient.look(victim, problem.x[ids], problem.y[ids]), problem.y[ids])
        tally.margin[ids] = margin
        tally.natural[ids] = margin > 0
        tally.forwards[ids] += (victim.forwards - before) // len(ids)
    waiting = ~tally.natural if goal.leaves else torch.ones_like(tally.natural)
    return waiting.nonzero().squeeze(1)


def _look(rule: Rule[Any], victim: Victim, flight: _Slots, loss: Loss, gradient: Estimator, tally: Tally) -> Probe:
    """Asks the victim, without a gradient where nobody moves again."""
    before = victim.forwards, victim.backwards
    y = flight.problem.y
    if bool((flight.k < rule.steps).any()):
        logits, value, grad = gradient.answer(victim, flight.x, y, loss)
    else:
        logits = gradient.look(victim, flight.x, y)
        value, grad = torch.zeros_like(logits[:, 0]), None
    tally.forwards[flight.ids] += (victim.forwards - before[0]) // len(y)
    tally.backwards[flight.ids] += (victim.backwards - before[1]) // len(y)
    return Probe(flight.x, logits, value, grad, flight.k)


def _keep(tally: Tally, flight: _Slots, probe: Probe, margin: Tensor, goal: Goal, *, first: bool) -> None:
    ids = flight.ids
    distance = flight.problem.threat.distance(probe.x, around=flight.problem.x)
    if first:
        tally.natural[ids] |= (probe.k == 0) & (flight.attempt == 0) & (margin > 0)
    better = goal.better(margin, distance, tally.margin[ids], tally.distance[ids])
    chosen = ids[better]
    tally.x[chosen] = probe.x[better]
    tally.margin[chosen] = margin[better].to(tally.margin.dtype)
    tally.distance[chosen] = distance[better]


def _board(
    rule: Rule[Any], problem: Problem, queue: Tensor, attempts: Tensor, slots: int
) -> tuple[_Slots, Tensor, Tensor]:
    """Starts as many waiting samples as fit and returns them with what still waits."""
    ids, attempt = queue[:slots], attempts[:slots]
    chosen: Problem = take(problem, ids)
    chosen = chosen._replace(streams=chosen.streams.derive("attempt").derive(attempt))
    x, state = rule.start(chosen) if len(ids) else (chosen.x, ())
    return _Slots(ids, attempt, torch.zeros_like(ids), chosen, x, state), queue[slots:], attempts[slots:]


def _refill(
    rule: Rule[Any], problem: Problem, flight: _Slots, done: Tensor, queue: Tensor, attempts: Tensor
) -> tuple[_Slots, Tensor, Tensor]:
    """Gives the slots of what is done to what waits; where nothing waits, the batch shrinks."""
    if bool(done.all()):
        return _board(rule, problem, queue, attempts, len(done))
    free = done.nonzero().squeeze(1)
    fresh, queue, attempts = _board(rule, problem, queue, attempts, len(free))
    filled, empty = free[: len(fresh.ids)], free[len(fresh.ids) :]
    if len(filled):
        for old, new in ((flight.ids, fresh.ids), (flight.attempt, fresh.attempt), (flight.k, fresh.k)):
            old[filled] = new
        put((flight.problem, flight.x, flight.state), filled, (fresh.problem, fresh.x, fresh.state))
    if len(empty):
        stay = torch.ones_like(done)
        stay[empty] = False
        kept = take((flight.ids, flight.attempt, flight.k, flight.problem, flight.x, flight.state), stay)
        flight = _Slots(*kept)
    return flight, queue, attempts
