"""How figures are to be shown: what a study knows of its tables and a report cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table of a report.

    table: of the rows that stand in it.  caption: what holds of it besides what its rows say.
    down, across: what names a line and a column, as fields of a row, its "strength" (attack and eps) or its "figure"
    (clean, static, adaptive worst or certified); without `down` every row is a line.
    by_strength: whether lines are sorted by their attack and eps.
    curve_from: at how many eps, that of clean images counted, an attack gets a curve; None for no curves.
    duel: whether what each defence loses once it is known is drawn of it.
    """

    table: str
    title: str
    caption: str = ""
    down: tuple[str, ...] = ()
    across: tuple[str, ...] = ()
    by_strength: bool = False
    curve_from: int | None = 2
    duel: bool = False


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Pictures that stand beside each other: of the same image, in one of these roles each.

    text: what is shown, in sentences.
    """

    title: str
    text: str
    roles: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Focus:
    """What a headline is about where there is a choice: the first of these defences, under this attack at this eps."""

    defences: tuple[str, ...] = ()
    attack: str = ""
    eps: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """All that a study says of how its figures are shown.

    sections: in the order of their tables; tables without one follow.  focus: of headlines.
    side_by_side: None where no pictures face each other.
    glossary: (term, what it means here), in place of the report's own words for a term or beside them.
    largest_class: the largest class's share of a data set, which no deterministic classifier can exceed where all
    images can become one.
    """

    sections: tuple[Section, ...] = ()
    focus: Focus = Focus()
    side_by_side: SideBySide | None = None
    glossary: tuple[tuple[str, str], ...] = ()
    largest_class: Mapping[str, float] = field(default_factory=dict)

    def of(self, table: str) -> Section:
        """Returns the section of a table: without one it shows a line for each row."""
        title = "Evaluation" if table == "evaluate" else f"Table “{table}”"
        return next((one for one in self.sections if one.table == table), Section(table=table, title=title))
