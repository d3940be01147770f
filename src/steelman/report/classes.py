"""The samples of a case by class: which class an attacker breaks most easily."""

from __future__ import annotations

from collections.abc import Sequence

from steelman.records import Case, Sample
from steelman.report import formatting
from steelman.report.table import Table

SHOWN = 12
"""Classes that are shown at once; of more the rest stands behind a fold."""


def classes(case: Case) -> Table | None:
    """Returns a table with a line for each class, the least robust first; None without samples.

    Every figure is a share of the images of its class, in percent.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in case.samples:
        groups.setdefault(sample.label, []).append(sample)
    if not groups:
        return None
    ordered = sorted(groups.items(), key=lambda group: (_robust(group[1]), _clean(group[1]), _natural(group[0])))
    defended = any(sample.static is not None for sample in case.samples)
    proved = any(sample.certified is not None for sample in case.samples)
    headers = ("Class", "Images", "Clean", *(["Static"] * defended), "Robust", *(["Certified"] * proved))
    lines = tuple(_line(label, group, defended, proved) for label, group in ordered)
    caption = "In percent of each class, the least robust first."
    if _robust(ordered[0][1]) < _robust(ordered[-1][1]):
        caption += _worst(*ordered[0])
    return Table("Classes", caption, headers, lines)


def ranked(table: Table) -> bool:
    """Whether the first class of a table is less robust than the last."""
    robust = table.headers.index("Robust")
    return table.rows[0][robust] != table.rows[-1][robust]


def _line(label: str, group: Sequence[Sample], defended: bool, proved: bool) -> tuple[str, ...]:
    static = [_share([sample.static for sample in group])] * defended
    certified = [_share([sample.certified for sample in group])] * proved
    clean, robust = (_share([getattr(sample, name) for sample in group]) for name in ("clean", "kept"))
    return label, f"{len(group):,}", clean, *static, robust, *certified


def _worst(label: str, group: Sequence[Sample]) -> str:
    survivors = sum(sample.kept for sample in group)
    return f" Of the least robust class, {label}, {survivors:,} of {formatting.counted(len(group), 'image')} survive."


def _share(values: Sequence[bool | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * formatting.fraction(sum(known), len(known)):.1f}" if known else formatting.MISSING


def _robust(group: Sequence[Sample]) -> float:
    return formatting.fraction(sum(sample.kept for sample in group), len(group))


def _clean(group: Sequence[Sample]) -> float:
    return formatting.fraction(sum(sample.clean for sample in group), len(group))


def _natural(label: str) -> tuple[bool, int, str]:
    """Sorts 2 before 10."""
    number = label.isdecimal() and len(label) < 10
    return not number, int(label) if number else 0, label
