"""Auto-PGD: steepest ascent with momentum that halves its own steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.apgd_l1 import AutoPgdL1, shrinking
from steelman.attacks.attack import Attack
from steelman.attacks.engine.guides import EachTarget, Guide
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.settings import column, count, inside, share, where
from steelman.errors import InputError
from steelman.losses import Loss, cross_entropy, dlr, dlr_reaching, dlr_targeted
from steelman.norms import Ball
from steelman.norms import column as radii
from steelman.threat import Threat

FRESH = 0.75


class Climb(NamedTuple):
    """What a sample knows of its own climb; value is of the last candidate, best_* of the highest one.

    previous, best, best_grad: (N, *S).  size: (N,), of a step, as a share of eps.
    window, until: (N,), int64: moves between two checkpoints, and those left to the next one.
    rises: (N,), moves since the last checkpoint that went up.  checked: (N,), the best value at that checkpoint, and
    halved, (N,) bool, whether the step was halved there.
    """

    previous: Tensor
    value: Tensor
    best: Tensor
    best_grad: Tensor
    best_value: Tensor
    size: Tensor
    window: Tensor
    until: Tensor
    rises: Tensor
    checked: Tensor
    halved: Tensor


@dataclass(frozen=True, kw_only=True)
class AutoPgd:
    """Auto-PGD in Linf and L2: steps of 2 eps that are halved at checkpoints where they no longer pay.

    rho: the share of the moves since the last checkpoint that have to go up for a step to stay as it is.
    """

    steps: int
    rho: float = 0.75

    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = False

    def start(self, problem: Problem) -> tuple[Tensor, Climb]:
        """Returns a random image on the sphere of each sample's ball, clipped to the box, and what is known there."""
        ball, streams = problem.threat.ball, problem.streams.derive("start")
        draw = ball.noise(streams, problem.x)
        draw *= radii(ball.eps, draw) / column(ball.size(draw), draw).clamp_min(torch.finfo(draw.dtype).tiny)
        x = problem.threat.project(draw.add_(problem.x), around=problem.x)
        zero, window = x.new_zeros(len(x)), torch.full_like(problem.y, max(int(0.22 * self.steps), 1))
        return x, Climb(
            previous=x,
            value=zero + torch.inf,
            best=x,
            best_grad=torch.zeros_like(x),
            best_value=zero - torch.inf,
            size=zero + 2,
            window=window,
            until=window.clone(),
            rises=zero,
            checked=zero,
            halved=torch.ones_like(zero, dtype=torch.bool),
        )

    def move(self, problem: Problem, state: Climb, probe: Probe) -> tuple[Tensor, Climb]:
        """Returns the next candidates: a step up the gradient, three quarters of it and a quarter of the last move."""
        threat, clean, x, grad = problem.threat, problem.x, probe.x, probe.grad
        state = _met(state, probe)
        if bool((state.until == 0).any()):
            x, grad, state = self._checked(state, x, grad)
        size = column(state.size, x) * radii(threat.eps, x)
        up = threat.project(threat.steepest(grad, at=x).mul_(size).add_(x), around=clean)
        weight = column(torch.where(probe.k > 0, FRESH, 1.0), x)
        moved = x.lerp(up, weight).add_(x - state.previous, alpha=1 - FRESH)
        return threat.project(moved, around=clean), state._replace(previous=x, until=state.until - 1)

    def _checked(self, state: Climb, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Climb]:
        """Where a checkpoint is due, halves the steps that do not pay and goes on from the best candidate."""
        due = state.until == 0
        stalled = ~state.halved & (state.checked >= state.best_value)
        halve = due & ((state.rises <= self.rho * state.window) | stalled)
        shorter = state.window - max(int(0.03 * self.steps), 1)
        window = torch.where(due, shorter.clamp_min(max(int(0.06 * self.steps), 1)), state.window)
        known = state._replace(
            size=torch.where(halve, state.size / 2, state.size),
            window=window,
            until=torch.where(due, window, state.until),
            rises=torch.where(due, 0, state.rises),
            checked=torch.where(due, state.best_value, state.checked),
            halved=torch.where(due, halve, state.halved),
        )
        return where(halve, state.best, x), where(halve, state.best_grad, grad), known


def apgd(
    threat: Threat | Ball,
    *,
    steps: int = 100,
    rho: float = 0.75,
    restarts: int = 1,
    shrink: bool = False,
    targeted: bool = False,
    loss: Loss | Guide = cross_entropy,
) -> Attack:
    """Returns Auto-PGD on the cross-entropy: steps that halve themselves where they no longer pay.

    rho: the share of moves that have to go up for a step to stay as it is; Linf and L2.
    shrink: begins in balls of 3 eps and 2 eps, L1 alone, as AutoAttack does there.
    Source: Croce & Hein 2020 (Reliable evaluation of adversarial robustness), algorithm 1 and section 4; for L1 Croce
    & Hein 2021 (Mind the box), algorithm 1. Numbers and counting are those of the authors' AutoAttack: a step stays
    if more than rho of the moves went up, where the paper has at least rho. Its code compares the first move with a
    value of zero; here, as in the paper, it is compared with the start.
    """
    return _named("apgd", threat, steps, rho, restarts, shrink, targeted, loss)


def apgd_dlr(
    threat: Threat | Ball,
    *,
    steps: int = 100,
    rho: float = 0.75,
    restarts: int = 1,
    shrink: bool = False,
    targeted: bool = False,
) -> Attack:
    """Returns Auto-PGD on the difference-of-logits ratio, for models of at least 3 classes; settings as of `apgd`.

    Targeted it is for models of at least 4, and has the denominator of the paper's targeted loss.
    Source: Croce & Hein 2020, section 5.
    """
    return _named("apgd-dlr", threat, steps, rho, restarts, shrink, targeted, dlr_reaching if targeted else dlr)


def apgd_t(
    threat: Threat | Ball,
    *,
    steps: int = 100,
    rho: float = 0.75,
    restarts: int = 1,
    shrink: bool = False,
    targets: int | None = None,
) -> Attack:
    """Returns Auto-PGD towards one wrong class after another, for models of at least 4 classes.

    targets: how many classes, the nearest by the clean logits first; all of them, at most 9, unless told. Each costs
    an attempt.  The other settings as of `apgd`.
    Source: Croce & Hein 2020, section 5 and appendix, its targeted DLR loss.
    """
    aims = None if targets is None else count(targets, "targets")
    return _named("apgd-t", threat, steps, rho, restarts, shrink, False, EachTarget(dlr_targeted, aims))


def _named(
    name: str,
    threat: Threat | Ball,
    steps: int,
    rho: float,
    restarts: int,
    shrink: bool,
    targeted: bool,
    loss: Loss | Guide,
) -> Attack:
    threat = inside(threat, name, "Linf", "L2", "L1")
    rho, steps, sparse = share(rho, "rho"), count(steps), threat.ball.name == "L1"
    if shrink and not sparse:
        raise InputError(f"expected L1 for shrink=True, as its paper has, got {threat.ball.name}: leave shrink out")
    stages = shrinking(steps) if shrink else ((1.0, steps),)
    return Attack(
        name=name,
        threat=threat,
        rule=AutoPgdL1(stages=stages) if sparse else AutoPgd(steps=steps, rho=rho),
        loss=loss,
        targeted=targeted,
        restarts=count(restarts, "restarts"),
    )


def _met(state: Climb, probe: Probe) -> Climb:
    """Notes whether the last move went up, and whether it led to the highest candidate so far."""
    value = probe.value.to(state.value.dtype)
    higher = value > state.best_value
    return state._replace(
        value=value,
        best=where(higher, probe.x, state.best),
        best_grad=where(higher, probe.grad, state.best_grad),
        best_value=torch.where(higher, value, state.best_value),
        rises=state.rises + (value > state.value),
    )
