"""What became of every image under one threat, gathered from a run's journal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from steelman.evaluation.journal import Outcome, Step
from steelman.evaluation.store import Store

SLACK = 1e-6
"""Of a radius, as a threat allows it."""


@dataclass
class Fate:
    """What became of one image under one threat, as it is gathered.

    own: by attack, whether it broke it.  inherited: broken inside this threat by what was made knowing, for another.
    """

    static: bool | None = None
    broken: bool = False
    by: str = ""
    margin: float = -math.inf
    distance: float = math.inf
    certified: bool | None = None
    forwards: int = 0
    backwards: int = 0
    own: dict[str, bool] = field(default_factory=dict)
    once: bool | None = None
    inherited: bool = False


def gathered(
    store: Store, place: int, aim: Mapping[str, Any], aims: list[dict[str, Any]], clean: Mapping[int, Outcome]
) -> dict[int, Fate]:
    """Returns what became of every image that was looked at: under this threat, and by others of its norm."""
    fates = {number: Fate(forwards=outcome.forwards) for number, outcome in clean.items()}
    steps = [step for step in store.steps(place) if step.protocol == "certificate"]
    for step in steps:
        for outcome in store.outcomes(step):
            fates[outcome.number].certified = not outcome.broken
    for other, its in enumerate(aims):
        if other != place and its["norm"] != aim["norm"]:
            continue
        for step in store.steps(other):
            if step.protocol != "certificate":
                for outcome in store.outcomes(step):
                    _add(fates[outcome.number], step, outcome, aim, own=other == place)
    return fates


def _add(fate: Fate, step: Step, outcome: Outcome, aim: Mapping[str, Any], *, own: bool) -> None:
    inside = outcome.broken and (own if aim["norm"] == "none" else outcome.distance <= aim["eps"] * (1 + SLACK) + SLACK)
    if inside and not fate.broken:
        fate.broken, fate.by = True, outcome.by
    if outcome.broken:
        fate.distance = min(fate.distance, outcome.distance)
    if not own:
        fate.inherited |= inside and step.protocol != "static"
        return
    if step.protocol == "static":
        fate.static = (fate.static is not False) and not inside
    elif step.protocol != "curve":
        fate.backwards += outcome.backwards
        fate.once = fate.once if outcome.once is None else bool(fate.once or outcome.once)
        fate.own[step.attack] = fate.own.get(step.attack, False) or inside
    if step.protocol != "curve" or inside:
        fate.margin = max(fate.margin, outcome.margin)
    fate.forwards += outcome.forwards
