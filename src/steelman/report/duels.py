"""Rows to a picture of what each defence loses once the attacker knows it."""

from __future__ import annotations

from dataclasses import dataclass

from steelman.evaluation.records import Evaluation, Row
from steelman.report import wording
from steelman.report.findings import measured

TABLE = "defences"


@dataclass(frozen=True)
class Duel:
    """One defence: its lowest accuracy against attackers who do not know of it, and against those who do, in %."""

    name: str
    clean: float
    unknown: float
    known: float

    @property
    def description(self) -> str:
        """The three figures in words."""
        return f"{self.name}: {self.clean:.0f} % clean, {self.unknown:.0f} % unknown, {self.known:.0f} % known"


@dataclass(frozen=True)
class Arena:
    """The defences of one data set, those that keep most once they are known first."""

    dataset: str
    duels: tuple[Duel, ...]

    @property
    def title(self) -> str:
        """What is shown."""
        return wording.dataset(self.dataset)


def arenas(evaluation: Evaluation) -> tuple[Arena, ...]:
    """Returns one for every data set whose defences were measured both unknown and known to the attacker."""
    rows = [row for row in measured(evaluation.rows) if row.table == TABLE]
    found = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        here = [row for row in rows if row.dataset == dataset]
        lines = dict.fromkeys((row.defence, row.classifier) for row in here)
        duels = [_duel([row for row in here if (row.defence, row.classifier) == line]) for line in lines]
        known = [duel for duel in duels if duel is not None]
        found.append(Arena(dataset, tuple(sorted(known, key=lambda duel: (-duel.known, -duel.unknown)))))
    return tuple(arena for arena in found if arena.duels)


def _duel(rows: list[Row]) -> Duel | None:
    attacked = [row for row in rows if not wording.is_clean(row)]
    clean, unknown, known = (
        [100 * (row.accuracy or 0.0) for row in part]
        for part in (
            [row for row in rows if wording.is_clean(row)],
            [row for row in attacked if row.protocol == "static"],
            [row for row in attacked if row.protocol == "adaptive"],
        )
    )
    if not (clean and unknown and known):
        return None
    name = wording.defence(rows[0].defence)
    return Duel(f"{name} ({rows[0].classifier})", clean[0], min(unknown), min(known))
