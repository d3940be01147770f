"""A run: every attempt on every chunk of images, each piece journaled when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from steelman.attacks import Cascade, Progress, Universal, Worst, pgd
from steelman.attacks.catalogue import AnyAttack
from steelman.evaluation.planning.attempts import Attempt, attempts
from steelman.evaluation.planning.threat_groups import ThreatGroup
from steelman.evaluation.running.attempt_runner import AttemptRunner, Made
from steelman.evaluation.running.curve import RADII, radii, smallest
from steelman.evaluation.running.run_state import nothing_yet
from steelman.evaluation.running.trust import trust
from steelman.evaluation.storing.journal import Outcome, Step, StepKind
from steelman.evaluation.storing.store import Store


@dataclass(frozen=True)
class Now:
    """What an observer hears: which piece of work is running, as one of how many, and how far it is."""

    title: str
    at: int
    of: int
    progress: Progress


Observer = Callable[[Now], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How an evaluation is made.

    seed: of everything that draws.  batch: images that are worked on, and journaled, together.
    each: make every attack on every image, for a row of its own.
    certify, curve, check: whether to try proofs, other radii, and the trust checks.
    """

    seed: int = 0
    batch: int = 250
    each: bool = False
    certify: bool = True
    curve: bool = True
    check: bool = True


class Runner:
    """One evaluation on its way; everything that it finds goes through the store.

    given: the model as it was handed in.  attempt_runner: on which attempts are made.
    """

    def __init__(
        self,
        attempt_runner: AttemptRunner,
        given: nn.Module,
        groups: tuple[ThreatGroup, ...],
        store: Store,
        options: Options,
        observe: Observer | None = None,
    ) -> None:
        self.attempts, self.given, self.groups, self.store, self.options = attempt_runner, given, groups, store, options
        self.state = nothing_yet(len(attempt_runner.images), groups)
        self.chunks = list(torch.arange(len(attempt_runner.images)).split(options.batch))
        self._places = {number: place for place, number in enumerate(attempt_runner.images.indices.tolist())}
        self._observe, self._title = observe, ""
        self._of, self._done = self._count(), 0

    def run(self) -> None:
        """Does all that is not done yet: attacks, curves, checks, and what a check calls for."""
        for at, rows in enumerate(self.chunks):
            self.run_step(Step(-1, "clean", "none", "", StepKind.CLEAN), at, partial(self.attempts.clean, rows))
            for group in self.groups:
                self._aim(group, at, rows)
            for group in self._farthest():
                smallest(self, group, at, rows)
        whole = torch.arange(len(self.attempts.images))
        for group in self.groups:
            for attempt in attempts(self.attempts.attacker, group.attacks):
                if isinstance(attempt.attack, Universal):  # it learns one change from all of them
                    self.attempt(group, attempt, 0, whole)
        for group in self._farthest():
            radii(self, group)
        for group in self.groups if self.options.check else ():
            trust(self, group)

    def attempt(
        self, group: ThreatGroup, attempt: Attempt, at: int, rows: Tensor, kind: StepKind = StepKind.ADAPTIVE
    ) -> None:
        """Makes an attempt on what is still alive of a chunk; of each attack, on all that is right."""
        step = Step(group.place, f"{kind}/{attempt.name}/{attempt.through}", attempt.name, attempt.through, kind)

        def make() -> Made:
            every = (self.options.each or not group.bounded) and kind is StepKind.ADAPTIVE
            chosen = self.state.right if every else self.state.alive(group)
            return self.attempts.attempt(group, attempt, rows[chosen[rows]], self.on_progress)

        self.run_step(step, at, make)

    def run_step(self, step: Step, chunk: int, make: Callable[[], Made]) -> None:
        """Makes a piece of work unless it is done, and takes over what it found."""
        self._done += 1
        if not self.store.has(step, chunk):
            self.tell(f"{step.attack} {self.groups[step.threat].title}" if step.threat >= 0 else "clean images")
            self.store.declare(step)
            started = time.monotonic()
            outcomes, images = make()
            self.store.put(step, chunk, outcomes, images, time.monotonic() - started)
        self.load_step(step, chunk)

    def load_step(self, step: Step, chunk: int | None = None) -> None:
        """Takes over what a step found, in one chunk or in all."""
        group = self.groups[step.threat] if step.threat >= 0 else None
        for outcome in self.store.outcomes(step, chunk):
            self.state.note(self._places[outcome.number], step.kind, group, outcome)

    def mask(self, step: Step, judge: Callable[[Outcome], bool]) -> Tensor:
        """Returns (N,) bool: of which images a step's line is judged so."""
        found = torch.zeros(len(self._places), dtype=torch.bool)
        for outcome in self.store.outcomes(step):
            found[self._places[outcome.number]] = judge(outcome)
        return found

    def tell(self, title: str) -> None:
        """Says what is beginning."""
        self._title = title
        self.on_progress(Progress(0, 1, 0))

    def on_progress(self, progress: Progress) -> None:
        """Hears how far an attempt is."""
        if self._observe is not None:
            self._observe(Now(self._title, min(self._done, self._of) - 1, self._of, progress))

    def _aim(self, group: ThreatGroup, at: int, rows: Tensor) -> None:
        if self.attempts.undefended is not None:
            for attack in oblivious(group):
                step = Step(group.place, f"static/{attack.name}", attack.name, "", StepKind.STATIC)
                self.run_step(step, at, partial(self.attempts.static, attack, rows, self.on_progress))
        if self.options.certify and group.bounded:
            self.run_step(
                Step(group.place, "certificate", "none", "", StepKind.CERTIFICATE),
                at,
                partial(self._proof, group, rows),
            )
        for attempt in attempts(self.attempts.attacker, group.attacks):
            if not isinstance(attempt.attack, Universal):
                self.attempt(group, attempt, at, rows)

    def _proof(self, group: ThreatGroup, rows: Tensor) -> Made:
        chosen = rows[self.state.right[rows]]
        if not len(chosen) or self.store.fact(group.place, "uncertified") is not None:
            return [], None
        proved = self.attempts.proof(group, chosen)
        if isinstance(proved, str):
            self.store.keep(group.place, "uncertified", proved)
            return [], None
        return proved

    def _farthest(self) -> list[ThreatGroup]:
        """Of each norm the group with the largest radius, for its curve."""
        return list(
            {
                group.norm: group for group in self.groups if group.bounded and group.eps > 0 and self.options.curve
            }.values()
        )

    def _count(self) -> int:
        """How many pieces there are at most, but for what a check calls for."""
        attacker, bare = self.attempts.attacker, self.attempts.undefended is not None
        each = [
            len(list(attempts(attacker, group.attacks))) + (len(oblivious(group)) if bare else 0) + 1
            for group in self.groups
        ]
        return len(self.chunks) * (1 + sum(each) + len(self._farthest()) * (1 + len(RADII)))


def oblivious(group: ThreatGroup) -> list[AnyAttack]:
    """Returns the attacks of an group as one makes them who does not know the defence: on the bare classifier.

    Every step is taken, as what only just breaks the classifier is the least that could be done to it; for a cascade,
    which stops there, PGD stands in.
    """
    made: dict[str, AnyAttack] = {}
    for attack in group.attacks:
        own = pgd(group.threat) if isinstance(attack, Cascade) else attack
        made.setdefault(own.name, own.with_goal(Worst()))
    return list(made.values())
