"""Other radii than those that were asked for: the smallest changes, and attacks up to where chance is reached."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from steelman.attacks import AnyAttack, Cascade, catalogue, fmn, standard
from steelman.evaluation.planning.attempts import attempts
from steelman.evaluation.planning.threat_groups import ThreatGroup
from steelman.evaluation.storing.journal import Step, StepKind

if TYPE_CHECKING:
    from steelman.evaluation.running.runner import Runner

RADII = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0)
"""In units of the largest radius that was asked for."""


def smallest(runner: Runner, group: ThreatGroup, at: int, rows: Tensor) -> None:
    """The smallest changes, on every image that is read right; of a random pipeline none holds on other draws."""
    if runner.attempts.attacker.random or not runner.attempts.attacker.paths:
        return
    attempt = next(attempts(runner.attempts.attacker, [fmn(group.threat.at(math.inf))]))
    step = Step(group.place, "curve/fmn", "fmn", attempt.through, StepKind.CURVE)
    runner.run_step(
        step, at, lambda: runner.attempts.attempt(group, attempt, rows[runner.state.right[rows]], runner.on_progress)
    )


def radii(runner: Runner, group: ThreatGroup) -> None:
    """Attacks at other radii on what is not known to break there, up to where nothing more than chance is left."""
    eps, chance = group.eps, runner.attempts.chance
    farthest = _diameter(group, math.prod(runner.attempts.images.shape))
    for radius in sorted({min(share * eps, farthest) for share in RADII}):
        if radius in {other.eps for other in runner.groups if other.norm == group.norm} or radius <= 0:
            continue
        if float((runner.state.right & (runner.state.found[group.norm] > radius)).double().mean()) <= chance:
            break
        there = ThreatGroup(group.place, group.norm, radius, group.threat.at(radius), ())
        attempt = next(attempts(runner.attempts.attacker, [quick(there)]), None)
        if attempt is None:
            return
        step = Step(group.place, f"curve/{radius:.6g}", attempt.name, attempt.through, StepKind.CURVE)
        for at, rows in enumerate(runner.chunks):
            left = _unsettled(runner, there, rows)
            runner.run_step(step, at, partial(runner.attempts.attempt, there, attempt, left, runner.on_progress))


def _unsettled(runner: Runner, there: ThreatGroup, rows: Tensor) -> Tensor:
    """Of these, what is right, not known to break at this radius, and not known to hold at a larger one."""
    left = runner.state.right & (runner.state.found[there.norm] > there.eps)
    for group in runner.groups:
        if group.norm == there.norm and group.eps >= there.eps:
            left = left & runner.state.broken(group, oblivious=False)
    return rows[left[rows]]


def quick(group: ThreatGroup) -> AnyAttack:
    """Returns the first parts of the standard cascade, for a radius of a curve; of L0 the smallest change."""
    if group.norm not in catalogue["standard"].norms:
        return fmn(group.threat)
    whole = standard(group.threat)
    return Cascade(name="climb", threat=whole.threat, attacks=whole.attacks[:2])


def _diameter(group: ThreatGroup, pixels: int) -> float:
    """The largest distance that two images can have."""
    side = group.threat.high - group.threat.low
    return {"Linf": side, "L2": side * math.sqrt(pixels), "L1": side * pixels, "L0": float(pixels)}[group.norm]
