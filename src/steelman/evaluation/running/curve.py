"""Other radii than those that were asked for: the smallest changes, and attacks up to where chance is reached."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor

from steelman.attacks import AttackLike, Cascade, catalogue, fmn, standard
from steelman.evaluation.planning.attempts import attempts
from steelman.evaluation.planning.threat_groups import ThreatGroup
from steelman.evaluation.running.attempt_runner import AttemptRunner, Piece
from steelman.evaluation.running.run_state import RunState
from steelman.evaluation.storing.journal import Step, StepKind

RADII = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0)
"""In units of the largest radius that was asked for."""


def smallest(made: AttemptRunner, state: RunState, group: ThreatGroup, chunk: int, rows: Tensor) -> Iterator[Piece]:
    """Yields the smallest changes of images classified correctly; of a random pipeline none holds on other draws."""
    if made.attacker.random or not made.attacker.paths:
        return
    attempt = next(attempts(made.attacker, [fmn(group.threat.at(math.inf))]))
    step = Step(group.place, "curve/fmn", "fmn", attempt.through, StepKind.CURVE)
    yield Piece(step, chunk, lambda told: made.attempt(group, attempt, rows[state.right[rows]], told))


def radii(
    made: AttemptRunner, state: RunState, groups: Sequence[ThreatGroup], group: ThreatGroup, chunks: Sequence[Tensor]
) -> Iterator[Piece]:
    """Yields attacks at other radii on what is not known to break there, up to where only chance is left.

    state: as it stands when a piece is asked for, all pieces before it done.
    """
    eps, threat = group.eps, group.threat
    farthest = threat.ball.diameter(math.prod(made.images.shape), threat.high - threat.low)
    for radius in sorted({min(share * eps, farthest) for share in RADII}):
        if radius in {other.eps for other in groups if other.norm == group.norm} or radius <= 0:
            continue
        if float((state.right & (state.found[group.norm] > radius)).double().mean()) <= made.chance:
            break
        there = ThreatGroup(group.place, group.norm, radius, group.threat.at(radius), ())
        attempt = next(attempts(made.attacker, [quick(there)]), None)
        if attempt is None:
            return
        step = Step(group.place, f"curve/{radius:.6g}", attempt.name, attempt.through, StepKind.CURVE)
        for chunk, rows in enumerate(chunks):
            yield Piece(step, chunk, partial(made.attempt, there, attempt, _unsettled(state, groups, there, rows)))


def _unsettled(state: RunState, groups: Sequence[ThreatGroup], there: ThreatGroup, rows: Tensor) -> Tensor:
    """Of these, what is right, not known to break at this radius, and not known to hold at a larger one."""
    left = state.right & (state.found[there.norm] > there.eps)
    for group in groups:
        if group.norm == there.norm and group.eps >= there.eps:
            left = left & state.broken(group, oblivious=False)
    return rows[left[rows]]


def quick(group: ThreatGroup) -> AttackLike:
    """Returns the first parts of the standard cascade, for a radius of a curve; of L0 the smallest change."""
    if group.norm not in catalogue["standard"].norms:
        return fmn(group.threat)
    whole = standard(group.threat)
    return Cascade(name="climb", threat=whole.threat, attacks=whole.attacks[:2])
