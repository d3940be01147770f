"""What became of every image under one threat, gathered from a run's journal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from steelman.evaluation.storing.journal import Outcome, Step, StepKind
from steelman.evaluation.storing.store import Store
from steelman.threat import reach


@dataclass
class SampleOutcome:
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


def collect(
    store: Store, place: int, group: Mapping[str, Any], groups: list[dict[str, Any]], clean: Mapping[int, Outcome]
) -> dict[int, SampleOutcome]:
    """Returns what became of every image that was looked at: under this threat, and by others of its norm."""
    outcomes_of = {number: SampleOutcome(forwards=outcome.forwards) for number, outcome in clean.items()}
    steps = [step for step in store.steps(place) if step.kind is StepKind.CERTIFICATE]
    for step in steps:
        for outcome in store.outcomes(step):
            outcomes_of[outcome.number].certified = not outcome.broken
    for other, its in enumerate(groups):
        if other != place and its["norm"] != group["norm"]:
            continue
        for step in store.steps(other):
            if step.kind is not StepKind.CERTIFICATE:
                for outcome in store.outcomes(step):
                    _add(outcomes_of[outcome.number], step, outcome, group, own=other == place)
    return outcomes_of


def _add(found: SampleOutcome, step: Step, outcome: Outcome, group: Mapping[str, Any], *, own: bool) -> None:
    inside = outcome.broken and (own if group["norm"] == "none" else outcome.distance <= reach(float(group["eps"])))
    if inside and not found.broken:
        found.broken, found.by = True, outcome.by
    if outcome.broken:
        found.distance = min(found.distance, outcome.distance)
    if not own:
        found.inherited |= inside and step.kind is not StepKind.STATIC
        return
    if step.kind is StepKind.STATIC:
        found.static = (found.static is not False) and not inside
    elif step.kind is not StepKind.CURVE:
        found.backwards += outcome.backwards
        found.once = found.once if outcome.once is None else bool(found.once or outcome.once)
        found.own[step.attack] = found.own.get(step.attack, False) or inside
    if step.kind is not StepKind.CURVE or inside:
        found.margin = max(found.margin, outcome.margin)
    found.forwards += outcome.forwards
