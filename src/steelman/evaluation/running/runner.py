"""A run: every attempt on every chunk of images, each piece journaled when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor, nn

from steelman.attacks import AttackLike
from steelman.evaluation import checks
from steelman.evaluation.options import EvaluationOptions
from steelman.evaluation.planning.attempts import Attempt, attempts
from steelman.evaluation.planning.threat_groups import ThreatGroup
from steelman.evaluation.running.attempt_runner import AttemptRunner, Made, Piece
from steelman.evaluation.running.curve import RADII, radii, smallest
from steelman.evaluation.running.run_state import nothing_yet
from steelman.evaluation.running.trust import check_context
from steelman.evaluation.storing.journal import Step, StepKind
from steelman.evaluation.storing.store import Store
from steelman.progress import OnProgress, Progress


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
        options: EvaluationOptions,
        progress: OnProgress | None = None,
    ) -> None:
        self.attempts, self.given, self.groups, self.store, self.options = attempt_runner, given, groups, store, options
        self.state = nothing_yet(len(attempt_runner.images), groups)
        self.chunks = list(torch.arange(len(attempt_runner.images)).split(options.batch))
        self.checks = {**(checks.catalogue.shipped if options.check else {}), **checks.named(options.extra_checks)}
        self._places = {number: place for place, number in enumerate(attempt_runner.images.indices.tolist())}
        self._progress, self._title, self._furthest = progress, "", 0.0
        self._of, self._done = self._count(), 0

    def run(self) -> None:
        """Does all that is not done yet: attacks, curves, checks, and what a check calls for."""
        for chunk, rows in enumerate(self.chunks):
            self.run_step(Piece(Step(-1, "clean", "none", "", StepKind.CLEAN), chunk, partial(self._clean, rows)))
            for group in self.groups:
                self._attack(group, chunk, rows)
            for group in self._farthest():
                self._run_all(smallest(self.attempts, self.state, group, chunk, rows))
        whole = torch.arange(len(self.attempts.images))
        for group in self.groups:
            for attempt in attempts(self.attempts.attacker, group.attacks):
                if attempt.attack.learns_from_all:  # it learns one change from all of them
                    self.run_step(self._piece(group, attempt, 0, whole))
        for group in self._farthest():
            self._run_all(radii(self.attempts, self.state, self.groups, group, self.chunks))
        for group in self.groups if self.checks else ():
            self._trust(group)
        self._done = self._of
        self.on_progress(Progress(1, 1))

    def run_step(self, piece: Piece) -> None:
        """Makes a piece of work unless it is done, and takes over what it found."""
        self._done += 1
        step = piece.step
        if not self.store.has(step, piece.chunk):
            self._begin(f"{step.attack} {self.groups[step.threat].title}" if step.threat >= 0 else "clean images")
            self.store.declare(step)
            started = time.monotonic()
            outcomes, images = piece.make(self.on_progress)
            self.store.put(step, piece.chunk, outcomes, images, time.monotonic() - started)
        self.load_step(step, piece.chunk)

    def load_step(self, step: Step, chunk: int | None = None) -> None:
        """Takes over what a step found, in one chunk or in all."""
        group = self.groups[step.threat] if step.threat >= 0 else None
        for outcome in self.store.outcomes(step, chunk):
            self.state.note(self._places[outcome.number], step.kind, group, outcome)

    def on_progress(self, now: Progress) -> None:
        """Hears how far an attempt is, and tells how far the run is; never back, as a check may add to the whole."""
        if self._progress is not None:
            done = min(self._done, self._of) - 1 + now.share
            self._furthest = max(self._furthest, done)
            self._progress(Progress(self._furthest, self._of, self._title, now.broken))

    def _attack(self, group: ThreatGroup, chunk: int, rows: Tensor) -> None:
        if self.attempts.undefended is not None:
            for attack in oblivious(group):
                step = Step(group.place, f"static/{attack.name}", attack.name, "", StepKind.STATIC)
                self.run_step(Piece(step, chunk, partial(self.attempts.static, attack, rows)))
        if self.options.certify and group.bounded:
            step = Step(group.place, "certificate", "none", "", StepKind.CERTIFICATE)
            self.run_step(Piece(step, chunk, partial(self._proof, group, rows)))
        for attempt in attempts(self.attempts.attacker, group.attacks):
            if not attempt.attack.learns_from_all:
                self.run_step(self._piece(group, attempt, chunk, rows))

    def _piece(
        self, group: ThreatGroup, attempt: Attempt, chunk: int, rows: Tensor, kind: StepKind = StepKind.ADAPTIVE
    ) -> Piece:
        """An attempt on what is still alive of a chunk; of each attack, on all that is right."""
        name = f"{kind}/{attempt.name}/{attempt.through}"
        every = (self.options.each or not group.bounded) and kind is StepKind.ADAPTIVE

        def make(progress: OnProgress) -> Made:
            chosen = self.state.right if every else self.state.alive(group)
            return self.attempts.attempt(group, attempt, rows[chosen[rows]], progress)

        return Piece(Step(group.place, name, attempt.name, attempt.through, kind), chunk, make)

    def _clean(self, rows: Tensor, _: OnProgress) -> Made:
        return self.attempts.clean(rows)

    def _proof(self, group: ThreatGroup, rows: Tensor, _: OnProgress) -> Made:
        chosen = rows[self.state.right[rows]]
        if not len(chosen) or self.store.fact(group.place, "uncertified") is not None:
            return [], None
        proved = self.attempts.proof(group, chosen)
        if isinstance(proved, str):
            self.store.keep(group.place, "uncertified", proved)
            return [], None
        return proved

    def _trust(self, group: ThreatGroup) -> None:
        """Makes the checks on a sample of the images, and what they call for on every survivor."""
        if self.store.fact(group.place, "checks") is not None:
            for step in self.store.steps(group.place):
                if step.kind is StepKind.ESCALATED:
                    self.load_step(step)
            return
        self._begin(f"checks {group.title}")
        context = check_context(self.attempts, self.state, self.given, group, self._broken_oblivious(group))
        findings = checks.check(context, self.on_progress, self.checks)
        for attack in (attack for finding in findings for attack in finding.escalate):
            for attempt in attempts(self.attempts.attacker, [attack]):
                for chunk, rows in enumerate(self.chunks):
                    self.run_step(self._piece(group, attempt, chunk, rows, StepKind.ESCALATED))
        self.store.keep(group.place, "checks", [asdict(finding.check) for finding in findings])

    def _broken_oblivious(self, group: ThreatGroup) -> Tensor | None:
        """(N,) bool: broken by what was made on the bare classifier for this very group; None where there is none."""
        if self.attempts.undefended is None:
            return None
        broken = torch.zeros(len(self._places), dtype=torch.bool)
        for step in self.store.steps(group.place):
            for outcome in self.store.outcomes(step) if step.kind is StepKind.STATIC else ():
                broken[self._places[outcome.number]] |= outcome.broken
        return broken

    def _run_all(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self.run_step(piece)

    def _begin(self, title: str) -> None:
        self._title = title
        self.on_progress(Progress(0, 1))

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
            len(list(attempts(attacker, group.attacks)))
            + (len(oblivious(group)) if bare else 0)
            + (self.options.certify and group.bounded)
            for group in self.groups
        ]
        return len(self.chunks) * (1 + sum(each) + len(self._farthest()) * (1 + len(RADII)))


def oblivious(group: ThreatGroup) -> list[AttackLike]:
    """Returns the attacks of a group as one makes them who does not know the defence, one of each name.

    Every step is taken, as what only just breaks the bare classifier is the least that could be done to it.
    """
    made: dict[str, AttackLike] = {}
    for attack in group.attacks:
        own = attack.oblivious()
        made.setdefault(own.name, own)
    return list(made.values())
