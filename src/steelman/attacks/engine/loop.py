"""The one loop that runs every rule: a fixed number of slots, always full of samples that are not done.

The engine lets what is solved leave, fills its slot with what waits, queues restarts and says how far it is. An attack
with a loop of its own is a `Search`, which the engine runs on one piece of the samples after another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from steelman.attacks.engine.guides import Guide, Plain
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks, Headed, Probe, Problem, Rule, Stopping, put, take
from steelman.progress import OnProgress, Progress


@runtime_checkable
class Search(Protocol):
    """An attack with a loop of its own, on samples that are not broken as they stand."""

    @property
    def asks(self) -> Asks:
        """What it asks of the model."""
        ...

    @property
    def queries(self) -> int | None:
        """How many forward passes a sample may cost, the clean look counted; None for any number."""
        ...

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Shows the oracle candidates for its samples, in any order, and calls tell now and then.

        oracle: of samples that were looked at clean: oracle.problem has their logits.
        """
        ...


@dataclass
class _Slots:
    """The samples in flight. ids, k: (n,) int64."""

    ids: Tensor
    k: Tensor
    problem: Problem
    x: Tensor
    state: Any


def run(
    rule: Rule[Any] | Search,
    oracle: Oracle,
    *,
    guide: Guide,
    restarts: int = 1,
    progress: OnProgress | None = None,
) -> None:
    """Runs a rule on every sample of an oracle, whose tally then says what was found.

    A sample that is broken before any move is left as it came, unless the goal takes every step.
    restarts: how many times a sample that holds is begun again, each from streams of its own.
    """
    search = own_loop(rule)
    if search is not None:
        _search(search, oracle, progress)
    else:
        _attempt(cast("Rule[Any]", rule), oracle, guide, restarts, progress)


def own_loop(rule: Rule[Any] | Search) -> Search | None:
    """Returns what has a loop of its own as such, and None for a rule, which the engine moves."""
    return rule if isinstance(rule, Search) else None


def _search(search: Search, oracle: Oracle, progress: OnProgress | None) -> None:
    oracle.look_at_clean()
    waiting = (~oracle.done).nonzero().squeeze(1)
    total, finished = len(oracle.problem.x), int(oracle.done.sum())
    for rows in waiting.split(oracle.slots) if len(waiting) else ():
        part = oracle.part(rows)

        def tell(rows: Tensor = rows, part: Oracle = part, finished: int = finished) -> None:
            if progress is not None:
                oracle.merge(rows, part)
                progress(Progress(finished, total, broken=int((oracle.tally.margin > 0).sum())))

        search.search(part, tell)
        oracle.merge(rows, part)
        finished += len(rows)
        _tell(progress, finished, oracle)


def _attempt(rule: Rule[Any], oracle: Oracle, guide: Guide, restarts: int, progress: OnProgress | None) -> None:
    """Makes every attempt at every sample; where few are left, several attempts at one at once, each in its slot."""
    ids, attempts = torch.arange(len(oracle.problem.x), device=oracle.problem.x.device), restarts
    looked = not (rule.from_input and isinstance(guide, Plain))
    if looked:
        oracle.look_at_clean()
        ids = (~oracle.done).nonzero().squeeze(1)
        attempts *= guide.targets(oracle.problem.logits.shape[1])
    turns = torch.zeros_like(ids)
    if not looked or attempts == 1 or not _few(len(ids), oracle):
        ids, turns = _roll(rule, oracle, guide, ids, turns, attempts, looked, progress)
    while len(ids):
        together = min(max(1, oracle.slots // len(ids)), attempts - int(turns.min()))
        rows = ids.repeat_interleave(together)
        each = (turns[:, None] + torch.arange(together, device=ids.device)).flatten()
        rows, each = rows[each < attempts], each[each < attempts]
        wave = oracle.wave(rows)
        _roll(rule, wave, guide, torch.arange(len(rows), device=ids.device), each, 0, True, None)
        oracle.merge_wave(rows, wave)
        turns = turns + together
        left = ~oracle.done[ids] & (turns < attempts)
        ids, turns = ids[left], turns[left]
        _tell(progress, len(oracle.problem.x) - len(ids), oracle)
    _tell(progress, len(oracle.problem.x), oracle)


def _few(count: int, oracle: Oracle) -> bool:
    """Whether so many samples leave half of the slots empty."""
    return 2 * count <= oracle.slots


def _roll(
    rule: Rule[Any],
    oracle: Oracle,
    guide: Guide,
    queue: Tensor,
    again: Tensor,
    attempts: int,
    looked: bool,
    progress: OnProgress | None,
) -> tuple[Tensor, Tensor]:
    """Runs the samples of a queue, from the attempts in `again` to the last one, until few are left unsolved.

    Returns the samples that are left, and the attempt that each is at.
    """
    flight, queue, again = _board(rule, oracle, queue, again, oracle.slots)
    pending = queue[:0], again[:0]
    # asking a protocol costs as much as many a move
    stopping = rule if isinstance(rule, Stopping) else None
    headed = rule if isinstance(rule, Headed) else None
    while len(flight.ids):
        _tell(progress, len(oracle.problem.x) - len(queue) - len(flight.ids) - len(pending[0]), oracle)
        probe = _probe(rule, oracle, flight, headed, guide)
        if not looked:
            oracle.tally.natural[flight.ids] |= (probe.k == 0) & (flight.problem.attempt == 0) & (probe.margin > 0)
        over = flight.k >= rule.steps
        if stopping is not None:
            over |= stopping.done(flight.problem, flight.state, probe)
        done = over | oracle.done[flight.ids]
        repeat = over & ~oracle.done[flight.ids] & (flight.problem.attempt + 1 < attempts)
        next_ = flight.ids[repeat], flight.problem.attempt[repeat] + 1
        if _few(len(queue) + len(flight.ids) + len(pending[0]), oracle):
            pending = torch.cat([pending[0], next_[0]]), torch.cat([pending[1], next_[1]])
        else:
            queue, again = torch.cat([queue, next_[0]]), torch.cat([again, next_[1]])
        left = int(done.sum())
        if left < len(done):
            flight.x, flight.state = rule.move(flight.problem, flight.state, probe)
            flight.k = flight.k + 1
        if left:
            flight, queue, again = _refill(rule, oracle, flight, done, queue, again)
    return pending


def _tell(progress: OnProgress | None, finished: int, oracle: Oracle) -> None:
    if progress is not None:
        progress(Progress(finished, len(oracle.problem.x), broken=int((oracle.tally.margin > 0).sum())))


def _probe(rule: Rule[Any], oracle: Oracle, flight: _Slots, headed: Headed | None, guide: Guide) -> Probe:
    """Asks the victim for what the rule needs, without a gradient where nobody moves again."""
    problem, k = flight.problem, flight.k

    def ascend(logits: Tensor) -> Tensor:
        return guide.ascend(problem, k, logits) if headed is None else headed.heads(problem, logits)

    if rule.asks is Asks.GRADIENTS and bool((k < rule.steps).any()):
        logits, value, grad = oracle.answer(flight.ids, problem, flight.x, k, ascend)
    else:
        logits = oracle.look(flight.ids, flight.x, problem)
        value, grad = ascend(logits), flight.x.new_zeros(len(k), 0)
    return Probe(flight.x, logits, oracle.victim.margin(logits, problem.y), value, grad, k)


def _board(
    rule: Rule[Any], oracle: Oracle, queue: Tensor, attempts: Tensor, room: int
) -> tuple[_Slots, Tensor, Tensor]:
    """Starts as many waiting samples as fit and returns them with what still waits."""
    ids, attempt = queue[:room], attempts[:room]
    chosen: Problem = take(oracle.problem, ids)
    chosen = chosen._replace(streams=chosen.streams.derive("attempt").derive(attempt), attempt=attempt)
    x, state = rule.start(chosen) if len(ids) else (chosen.x, ())
    return _Slots(ids, torch.zeros_like(ids), chosen, x, state), queue[room:], attempts[room:]


def _refill(
    rule: Rule[Any], oracle: Oracle, flight: _Slots, done: Tensor, queue: Tensor, attempts: Tensor
) -> tuple[_Slots, Tensor, Tensor]:
    """Gives the slots of what is done to what waits; where nothing waits, the batch shrinks."""
    if bool(done.all()):
        return _board(rule, oracle, queue, attempts, oracle.slots)
    free = done.nonzero().squeeze(1)
    fresh, queue, attempts = _board(rule, oracle, queue, attempts, len(free))
    filled, empty = free[: len(fresh.ids)], free[len(fresh.ids) :]
    if len(filled):
        for old, new in ((flight.ids, fresh.ids), (flight.k, fresh.k)):
            old[filled] = new
        put((flight.problem, flight.x, flight.state), filled, (fresh.problem, fresh.x, fresh.state))
    if len(empty):
        stay = torch.ones_like(done)
        stay[empty] = False
        flight = _Slots(*take((flight.ids, flight.k, flight.problem, flight.x, flight.state), stay))
    return flight, queue, attempts
