"""Other radii than those that were asked for: the smallest changes, and attacks up to where chance is reached."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from steelman.attacks import AnyAttack, Cascade, catalogue, fmn, standard
from steelman.evaluation.aims import Aim
from steelman.evaluation.journal import Step
from steelman.evaluation.worst import attempts

if TYPE_CHECKING:
    from steelman.evaluation.run import Run

RADII = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0)
"""In units of the largest radius that was asked for."""


def smallest(run: Run, aim: Aim, at: int, rows: Tensor) -> None:
    """The smallest changes, on every image that is read right; of a random pipeline none holds on other draws."""
    if run.bench.attacker.random or not run.bench.attacker.ways:
        return
    attempt = next(attempts(run.bench.attacker, [fmn(aim.threat.at(math.inf))]))
    step = Step(aim.place, "curve/fmn", "fmn", attempt.through, "curve")
    run.piece(step, at, lambda: run.bench.attempt(aim, attempt, rows[run.known.right[rows]], run.hear))


def radii(run: Run, aim: Aim) -> None:
    """Attacks at other radii on what is not known to break there, up to where nothing more than chance is left."""
    eps, chance = aim.eps, run.bench.chance
    farthest = _diameter(aim, math.prod(run.bench.images.shape))
    for radius in sorted({min(share * eps, farthest) for share in RADII}):
        if radius in {other.eps for other in run.aims if other.norm == aim.norm} or radius <= 0:
            continue
        if float((run.known.right & (run.known.found[aim.norm] > radius)).double().mean()) <= chance:
            break
        there = Aim(aim.place, aim.norm, radius, aim.threat.at(radius), ())
        attempt = next(attempts(run.bench.attacker, [quick(there)]), None)
        if attempt is None:
            return
        step = Step(aim.place, f"curve/{radius:.6g}", attempt.name, attempt.through, "curve")
        for at, rows in enumerate(run.chunks):
            left = _unsettled(run, there, rows)
            run.piece(step, at, partial(run.bench.attempt, there, attempt, left, run.hear))


def _unsettled(run: Run, there: Aim, rows: Tensor) -> Tensor:
    """Of these, what is right, not known to break at this radius, and not known to hold at a larger one."""
    left = run.known.right & (run.known.found[there.norm] > there.eps)
    for aim in run.aims:
        if aim.norm == there.norm and aim.eps >= there.eps:
            left = left & run.known.broken(aim, unaware=False)
    return rows[left[rows]]


def quick(aim: Aim) -> AnyAttack:
    """Returns the first parts of the standard cascade, for a radius of a curve; of L0 the smallest change."""
    if aim.norm not in catalogue["standard"].norms:
        return fmn(aim.threat)
    whole = standard(aim.threat)
    return Cascade(name="climb", threat=whole.threat, attacks=whole.attacks[:2])


def _diameter(aim: Aim, pixels: int) -> float:
    """The largest distance that two images can have."""
    side = aim.threat.high - aim.threat.low
    return {"Linf": side, "L2": side * math.sqrt(pixels), "L1": side * pixels, "L0": float(pixels)}[aim.norm]
