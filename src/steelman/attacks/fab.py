"""FAB, the fast adaptive boundary attack: from one linearised boundary to the next, drawn back to the clean image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.goals import Nearest
from steelman.attacks.engine.guides import relevant
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks, Problem, take
from steelman.attacks.projections import onto_plane
from steelman.attacks.settings import column, count, positive, share, smallest, where
from steelman.errors import InputError
from steelman.norms import ANY, Ball
from steelman.threat import Threat

SHORT = 1e-4
"""Of the clean image's margin, how much the final search leaves between what it finds and the boundary."""


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """The search of FAB and FAB-T.

    apart: whether each class is the target of attempts of its own; else every step goes to the nearest of them.
    classes: how many wrong classes are looked at, the likeliest of the clean image first; all unless told.
    final: steps of the search between what was found and the clean image.
    """

    steps: int
    restarts: int
    alpha_max: float
    eta: float
    beta: float
    apart: bool
    classes: int | None
    final: int

    asks: ClassVar[Asks] = Asks.GRADIENTS
    queries: ClassVar[None] = None

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Attacks every sample from the clean image first, then from random points, and closes in on what it found."""
        problem = oracle.problem
        wrong = relevant(problem, problem.logits, self.classes or problem.logits.shape[1] - 1)
        turns, turn = wrong.shape[1] if self.apart else 1, 0
        while turn < turns:
            rows = (~oracle.done).nonzero().squeeze(1)
            together = min(turns - turn, max(1, oracle.slots // max(1, len(rows)))) if self.restarts == 1 else 1
            if together > 1:  # few samples: several targets of one at once, in slots of their own
                each = rows.repeat_interleave(together)
                wave = oracle.wave(each)
                aims = wrong[rows, turn : turn + together].reshape(-1, 1)
                self._attempt(wave, torch.arange(len(each), device=each.device), aims, turn, tell)
                oracle.merge_wave(each, wave)
            else:
                for restart in range(self.restarts):
                    rows = (~oracle.done).nonzero().squeeze(1)
                    wanted = wrong[rows, turn : turn + 1] if self.apart else wrong[rows]
                    self._attempt(oracle, rows, wanted, turn * self.restarts + restart, tell)
            turn += together
        if not oracle.goal.leaves:
            self._close_in(oracle)

    def _attempt(self, oracle: Oracle, rows: Tensor, wanted: Tensor, attempt: int, tell: Callable[[], None]) -> None:
        """Steps to the boundary, and back from wherever it was crossed. wanted: (M, C), the classes looked at."""
        problem = take(oracle.problem, rows)
        x = problem.x if attempt % self.restarts == 0 else _start(oracle, rows, problem, attempt)
        for k in range(self.steps):
            if not len(rows):
                return

            def ascend(logits: Tensor, problem: Problem = problem, wanted: Tensor = wanted) -> Tensor:
                return logits.gather(1, wanted) - logits.gather(1, problem.y[:, None])

            _, gap, grad = oracle.answer(rows, problem, x, torch.full_like(rows, k), ascend)
            x = self._step(problem, x, gap, grad)
            crossed = oracle.victim.margin(oracle.look(rows, x, problem), problem.y) > 0
            x = where(crossed, problem.x + self.beta * (x - problem.x), x)
            stay = ~oracle.done[rows]
            if not bool(stay.all()):
                rows, problem, x, wanted = take((rows, problem, x, wanted), stay)
            tell()

    def _step(self, problem: Problem, x: Tensor, gap: Tensor, grad: Tensor) -> Tensor:
        """Returns (N, *S): beyond the nearest plane, between the projections of x and of the clean image onto it.

        gap: (N, C), how much the logit of each class is ahead of that of y.  grad: (N, C, *S), its gradient.
        """
        threat = problem.threat
        slope = torch.linalg.vector_norm(grad.flatten(2), ord=threat.ball.dual, dim=2)
        nearest = (gap.abs() / slope.clamp_min(torch.finfo(x.dtype).tiny)).argmin(1)
        each = torch.arange(len(x), device=x.device)
        plane = grad[each, nearest].flatten(1)
        level = (plane * x.flatten(1)).sum(1) - gap[each, nearest].to(x.dtype)
        both = torch.cat([x, problem.x]).flatten(1)
        moved = onto_plane(
            both, plane.repeat(2, 1), level.repeat(2), norm=threat.ball.name, low=threat.low, high=threat.high
        ).view(2, *x.shape)
        near, far = (threat.ball.size(move).clamp_min(1e-8) for move in moved)
        alpha = column((near / (near + far)).clamp_max(self.alpha_max), x)
        stepped = (1 - alpha) * (x + self.eta * moved[0]) + alpha * (problem.x + self.eta * moved[1])
        return stepped.clamp(threat.low, threat.high)

    def _close_in(self, oracle: Oracle) -> None:
        """Searches the line from the clean image to what was found for where it crosses the boundary.

        It stops short of it, as what is on the boundary to the last bit breaks in one batch and not in another.
        """
        rows = ((oracle.tally.margin > 0) & ~oracle.tally.natural).nonzero().squeeze(1)
        problem = take(oracle.problem, rows)
        outside, ahead = oracle.tally.x[rows], oracle.tally.margin[rows]
        inside, behind = problem.x, oracle.victim.margin(problem.logits, problem.y).to(ahead)
        room = -SHORT * behind
        for _ in range(self.final if len(rows) else 0):
            back = ((ahead - room) / (ahead - behind)).clamp_min(0)
            middle = outside - column(back, outside) * (outside - inside)
            margin = oracle.victim.margin(oracle.look(rows, middle, problem), problem.y).to(ahead)
            crossed = margin > 0
            outside, ahead = where(crossed, middle, outside), torch.where(crossed, margin, ahead)
            inside, behind = where(crossed, inside, middle), torch.where(crossed, behind, margin)


def _start(oracle: Oracle, rows: Tensor, problem: Problem, attempt: int) -> Tensor:
    """Returns (M, *S): half as far from the clean image as eps or the nearest change that breaks, whichever is less."""
    ball, x = problem.threat.ball, problem.x
    best = torch.where(oracle.tally.margin[rows] > 0, oracle.tally.distance[rows], torch.inf)
    reach = torch.minimum(torch.as_tensor(ball.eps).to(best), best)
    reach = torch.where(reach.isinf(), ball.usual[ANY], reach)
    streams = problem.streams.derive("attempt").derive(attempt)
    direction = ball.noise(streams, x)
    move = direction * column(reach / 2 / ball.size(direction), x)
    return (x + move).clamp(problem.threat.low, problem.threat.high)


def fab(
    threat: Threat | Ball,
    *,
    steps: int = 100,
    restarts: int = 1,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    classes: int | None = None,
    final: int = 3,
) -> Attack:
    """Returns the fast adaptive boundary attack (FAB), which looks for the smallest change, eps or none given.

    steps: each of two passes forwards and one back for each wrong class.
    restarts: attempts in all; all but the first begin at a random point at half of eps, or of the smallest change yet.
    alpha_max: how much of a step is drawn to the clean image.  eta: how far it goes beyond the plane, 1 for onto it.
    beta: how much of a change that breaks is kept for the next step.
    classes: how many wrong classes are looked at, the likeliest of the clean image; all unless told.
    final: steps of the final search, each one pass forwards; none where the goal lets broken samples go.
    Source: Croce & Hein 2020 (Minimally distorted adversarial examples with a fast adaptive boundary attack),
    algorithm 1; the size of restarts where no eps is given, as in the authors' code.
    """
    return _attack("fab", threat, steps, restarts, alpha_max, eta, beta, classes, final, apart=False)


def fab_t(
    threat: Threat | Ball,
    *,
    steps: int = 100,
    restarts: int = 1,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    classes: int | None = 9,
    final: int = 3,
) -> Attack:
    """Returns targeted FAB (FAB-T), which goes to one wrong class after another, for any number of classes.

    classes: how many of them, the likeliest of the clean image first; as many as there are if there are fewer.
    restarts: attempts at each class.  Other settings: as of `fab`; a step takes two passes forwards and one back.
    Source: Croce & Hein 2020 (Reliable evaluation of adversarial robustness), section 4 and code, which has no final
    search: with final=0, and where broken samples leave, as inside AutoAttack, there is none here either.
    """
    return _attack("fab-t", threat, steps, restarts, alpha_max, eta, beta, classes, final, apart=True)


def _attack(
    name: str,
    threat: Threat | Ball,
    steps: int,
    restarts: int,
    alpha_max: float,
    eta: float,
    beta: float,
    classes: int | None,
    final: int,
    *,
    apart: bool,
) -> Attack:
    if positive(eta, "eta") < 1:
        raise InputError(f"expected eta >= 1, which goes to the boundary or beyond it, got {eta}")
    rule = Boundary(
        steps=count(steps),
        restarts=count(restarts, "restarts"),
        alpha_max=share(alpha_max, "alpha_max"),
        eta=float(eta),
        beta=share(beta, "beta"),
        apart=apart,
        classes=None if classes is None else count(classes, "classes"),
        final=count(final, "final", 0),
    )
    return Attack(name=name, threat=smallest(threat, name, "Linf", "L2", "L1"), rule=rule, goal=Nearest())
