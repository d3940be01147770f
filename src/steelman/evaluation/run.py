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
from steelman.evaluation.aims import Aim
from steelman.evaluation.bench import Bench, Made
from steelman.evaluation.journal import Outcome, Step
from steelman.evaluation.known import nothing
from steelman.evaluation.radii import RADII, radii, smallest
from steelman.evaluation.store import Store
from steelman.evaluation.trust import trust
from steelman.evaluation.worst import Attempt, attempts


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


class Run:
    """One evaluation on its way; everything that it finds goes through the store.

    given: the model as it was handed in.  bench: on which attempts are made.
    """

    def __init__(
        self,
        bench: Bench,
        given: nn.Module,
        aims: tuple[Aim, ...],
        store: Store,
        options: Options,
        observe: Observer | None = None,
    ) -> None:
        self.bench, self.given, self.aims, self.store, self.options = bench, given, aims, store, options
        self.known = nothing(len(bench.images), aims)
        self.chunks = list(torch.arange(len(bench.images)).split(options.batch))
        self._places = {number: place for place, number in enumerate(bench.images.indices.tolist())}
        self._observe, self._title = observe, ""
        self._of, self._done = self._count(), 0

    def everything(self) -> None:
        """Does all that is not done yet: attacks, curves, checks, and what a check calls for."""
        for at, rows in enumerate(self.chunks):
            self.piece(Step(-1, "clean", "none", "", "clean"), at, partial(self.bench.clean, rows))
            for aim in self.aims:
                self._aim(aim, at, rows)
            for aim in self._farthest():
                smallest(self, aim, at, rows)
        whole = torch.arange(len(self.bench.images))
        for aim in self.aims:
            for attempt in attempts(self.bench.attacker, aim.attacks):
                if isinstance(attempt.attack, Universal):  # it learns one change from all of them
                    self.attempt(aim, attempt, 0, whole)
        for aim in self._farthest():
            radii(self, aim)
        for aim in self.aims if self.options.check else ():
            trust(self, aim)

    def attempt(self, aim: Aim, attempt: Attempt, at: int, rows: Tensor, protocol: str = "adaptive") -> None:
        """Makes an attempt on what is still alive of a chunk; of each attack, on all that is right."""
        step = Step(aim.place, f"{protocol}/{attempt.name}/{attempt.through}", attempt.name, attempt.through, protocol)

        def make() -> Made:
            every = (self.options.each or not aim.bounded) and protocol == "adaptive"
            chosen = self.known.right if every else self.known.alive(aim)
            return self.bench.attempt(aim, attempt, rows[chosen[rows]], self.hear)

        self.piece(step, at, make)

    def piece(self, step: Step, chunk: int, make: Callable[[], Made]) -> None:
        """Makes a piece of work unless it is done, and takes over what it found."""
        self._done += 1
        if not self.store.has(step, chunk):
            self.tell(f"{step.attack} {self.aims[step.threat].title}" if step.threat >= 0 else "clean images")
            self.store.declare(step)
            started = time.monotonic()
            outcomes, images = make()
            self.store.put(step, chunk, outcomes, images, time.monotonic() - started)
        self.recall(step, chunk)

    def recall(self, step: Step, chunk: int | None = None) -> None:
        """Takes over what a step found, in one chunk or in all."""
        aim = self.aims[step.threat] if step.threat >= 0 else None
        for outcome in self.store.outcomes(step, chunk):
            self.known.note(self._places[outcome.number], step.protocol, aim, outcome)

    def marked(self, step: Step, judge: Callable[[Outcome], bool]) -> Tensor:
        """Returns (N,) bool: of which images a step's line is judged so."""
        found = torch.zeros(len(self._places), dtype=torch.bool)
        for outcome in self.store.outcomes(step):
            found[self._places[outcome.number]] = judge(outcome)
        return found

    def tell(self, title: str) -> None:
        """Says what is beginning."""
        self._title = title
        self.hear(Progress(0, 1, 0))

    def hear(self, progress: Progress) -> None:
        """Hears how far an attempt is."""
        if self._observe is not None:
            self._observe(Now(self._title, min(self._done, self._of) - 1, self._of, progress))

    def _aim(self, aim: Aim, at: int, rows: Tensor) -> None:
        if self.bench.undefended is not None:
            for attack in unaware(aim):
                step = Step(aim.place, f"static/{attack.name}", attack.name, "", "static")
                self.piece(step, at, partial(self.bench.static, attack, rows, self.hear))
        if self.options.certify and aim.bounded:
            self.piece(Step(aim.place, "certificate", "none", "", "certificate"), at, partial(self._proof, aim, rows))
        for attempt in attempts(self.bench.attacker, aim.attacks):
            if not isinstance(attempt.attack, Universal):
                self.attempt(aim, attempt, at, rows)

    def _proof(self, aim: Aim, rows: Tensor) -> Made:
        chosen = rows[self.known.right[rows]]
        if not len(chosen) or self.store.fact(aim.place, "uncertified") is not None:
            return [], None
        proved = self.bench.proof(aim, chosen)
        if isinstance(proved, str):
            self.store.keep(aim.place, "uncertified", proved)
            return [], None
        return proved

    def _farthest(self) -> list[Aim]:
        """Of each norm the aim with the largest radius, for its curve."""
        return list({aim.norm: aim for aim in self.aims if aim.bounded and aim.eps > 0 and self.options.curve}.values())

    def _count(self) -> int:
        """How many pieces there are at most, but for what a check calls for."""
        attacker, bare = self.bench.attacker, self.bench.undefended is not None
        each = [
            len(list(attempts(attacker, aim.attacks))) + (len(unaware(aim)) if bare else 0) + 1 for aim in self.aims
        ]
        return len(self.chunks) * (1 + sum(each) + len(self._farthest()) * (1 + len(RADII)))


def unaware(aim: Aim) -> list[AnyAttack]:
    """Returns the attacks of an aim as one makes them who does not know the defence: on the bare classifier.

    Every step is taken, as what only just breaks the classifier is the least that could be done to it; for a cascade,
    which stops there, PGD stands in.
    """
    made: dict[str, AnyAttack] = {}
    for attack in aim.attacks:
        own = pgd(aim.threat) if isinstance(attack, Cascade) else attack
        made.setdefault(own.name, own.with_goal(Worst()))
    return list(made.values())
