"""Rows to a picture of what each defence loses once the attacker knows it."""

from __future__ import annotations

from dataclasses import dataclass

from steelman.records import Evaluation, Protocol, Row
from steelman.report import formatting
from steelman.report.findings import measured


@dataclass(frozen=True)
class Duel:
    """One defence: its lowest accuracy against attackers who do not know of it, and against those who do, in %.

    Both may change an image by as much. proved: the share that no attack can break, None where nothing is proved.
    """

    name: str
    clean: float
    unknown: float
    known: float
    proved: float | None = None

    @property
    def description(self) -> str:
        """The three figures in words."""
        message = f"{self.name}: {self.clean:.0f} % clean, {self.unknown:.0f} % unknown, {self.known:.0f} % known"
        return message if self.proved is None else f"{message}, {self.proved:.0f} % proved"


@dataclass(frozen=True)
class Arena:
    """The defences of one data set, the most robust once they are known first."""

    dataset: str
    duels: tuple[Duel, ...]

    @property
    def proved(self) -> bool:
        """Whether anything is proved of any."""
        return any(duel.proved is not None for duel in self.duels)

    @property
    def title(self) -> str:
        """What is shown."""
        return formatting.dataset(self.dataset)


def arenas(evaluation: Evaluation) -> tuple[Arena, ...]:
    """Returns one for every data set whose defences were measured both unknown and known to the attacker.

    Of several tables that could show it the first is drawn.
    """
    there = measured(evaluation.rows)
    compared = (section.table for section in evaluation.presentation.sections if section.duel)
    table = next((name for name in compared if any(row.table == name for row in there)), "")
    rows = [row for row in there if row.table == table]
    found = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        here = [row for row in rows if row.dataset == dataset]
        lines = dict.fromkeys((row.defence, row.classifier) for row in here)
        duels = [_duel([row for row in here if (row.defence, row.classifier) == line]) for line in lines]
        known = [duel for duel in duels if duel is not None]
        found.append(Arena(dataset, tuple(sorted(known, key=lambda duel: (-duel.known, -duel.unknown)))))
    return tuple(arena for arena in found if arena.duels)


def _duel(rows: list[Row]) -> Duel | None:
    attacked = [row for row in rows if not formatting.is_clean(row)]
    allowed = {(row.norm, row.eps) for row in attacked if row.protocol == Protocol.ADAPTIVE}
    clean, unknown, known, proved = (
        [100 * (row.accuracy or 0.0) for row in part]
        for part in (
            [row for row in rows if formatting.is_clean(row)],
            [row for row in attacked if row.protocol == Protocol.STATIC and (row.norm, row.eps) in allowed],
            [row for row in attacked if row.protocol == Protocol.ADAPTIVE],
            [row for row in attacked if row.protocol == Protocol.CERTIFIED],
        )
    )
    if not (clean and unknown and known):
        return None
    name = formatting.defence(rows[0].defence)
    return Duel(f"{name} ({rows[0].classifier})", clean[0], min(unknown), min(known), max(proved, default=0) or None)
