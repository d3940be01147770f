"""The samples of a case by class: which class an attacker breaks most easily."""

from __future__ import annotations

from collections.abc import Sequence

from steelman.records import Case, Sample
from steelman.report import formatting
from steelman.report.table import Table

SHOWN = 12
"""Classes that are shown at once; of more the rest stands behind a fold."""


def classes(case: Case) -> Table | None:
    """Returns a table with a line for each class, those that keep least first; None without samples.

    Every figure is a share of the images of its class, in percent.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in case.samples:
        groups.setdefault(sample.label, []).append(sample)
    if not groups:
        return None
    ordered = sorted(groups.items(), key=lambda group: (_kept(group[1]), _clean(group[1]), _natural(group[0])))
    defended = any(sample.static is not None for sample in case.samples)
    proved = any(sample.certified is not None for sample in case.samples)
    headers = ("Class", "Images", "Clean", *(["Static"] * defended), "Kept", *(["Certified"] * proved))
    lines = tuple(_line(label, group, defended, proved) for label, group in ordered)
    caption = "In percent of each class, the class that keeps least first."
    if _kept(ordered[0][1]) < _kept(ordered[-1][1]):
        caption += _worst(*ordered[0])
    return Table("Classes", caption, headers, lines)


def ranked(table: Table) -> bool:
    """Whether the first class of a table keeps less than the last."""
    kept = table.headers.index("Kept")
    return table.rows[0][kept] != table.rows[-1][kept]


def _line(label: str, group: Sequence[Sample], defended: bool, proved: bool) -> tuple[str, ...]:
    static = [_share([sample.static for sample in group])] * defended
    certified = [_share([sample.certified for sample in group])] * proved
    clean, kept = (_share([getattr(sample, name) for sample in group]) for name in ("clean", "kept"))
    return label, f"{len(group):,}", clean, *static, kept, *certified


def _worst(label: str, group: Sequence[Sample]) -> str:
    held = sum(sample.kept for sample in group)
    return f" The worst class, {label}, keeps {held:,} of {formatting.counted(len(group), 'image')}."


def _share(values: Sequence[bool | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * formatting.fraction(sum(known), len(known)):.1f}" if known else formatting.MISSING


def _kept(group: Sequence[Sample]) -> float:
    return formatting.fraction(sum(sample.kept for sample in group), len(group))


def _clean(group: Sequence[Sample]) -> float:
    return formatting.fraction(sum(sample.clean for sample in group), len(group))


def _natural(label: str) -> tuple[bool, int, str]:
    """Sorts 2 before 10."""
    number = label.isdecimal() and len(label) < 10
    return not number, int(label) if number else 0, label
