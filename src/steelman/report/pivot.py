"""Rows turned so that what is compared stands side by side."""

from __future__ import annotations

from dataclasses import dataclass

from steelman.records import Row
from steelman.report import formatting
from steelman.report.table import marks

_NAMES = {
    "figure": "Figure",
    "seen": "Seen in training",
    "note": "May spend",
    "strength": "Attack",
    "attack": "Attack",
    "eps": "ε",
    "protocol": "Protocol",
    "classifier": "Classifier",
    "defence": "Defence",
}
Key = tuple[str, ...]


@dataclass(frozen=True)
class Pivot:
    """Rows laid out by what names a line, `down`, and a column, `across`: fields of Row, its "strength" or "figure".

    A note that names a line is no footnote.
    """

    rows: tuple[Row, ...]
    down: tuple[str, ...]
    across: tuple[str, ...]

    @classmethod
    def of(cls, rows: list[Row], down: tuple[str, ...], across: tuple[str, ...]) -> Pivot:
        """Returns the layout without the fields that are the same in every row."""

        def varied(names: tuple[str, ...], kept: str) -> tuple[str, ...]:
            return tuple(name for name in names if name == kept or len({said(row, name) for row in rows}) > 1)

        return cls(tuple(rows), varied(down, down[0]), varied(across, across[0]))

    @property
    def constant(self) -> str:
        """What is the same in every row, as sentences; empty where nothing is."""
        names = [name for name in ("classifier", "defence", "protocol") if len({said(r, name) for r in self.rows}) == 1]
        names = [name for name in names if name not in (*self.down, *self.across)]
        if "defence" in names and self.rows[0].defence == "none":
            return " ".join(["No defence.", *(self._sentence(name) for name in names if name != "defence")])
        return " ".join(self._sentence(name) for name in names)

    @property
    def images(self) -> str:
        """How many images a cell measures, as a sentence; empty where the cells say it or nothing is measured."""
        counts = self._counts()
        return f"n = {formatting.counted(next(iter(counts)), 'image')} a cell." if len(counts) == 1 else ""

    @property
    def footnotes(self) -> tuple[str, ...]:
        """Every note behind its mark."""
        return tuple(f"{mark} {note}" for note, mark in self._marks().items() if mark)

    def content(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Returns the headers and the lines: our columns of a defence, then the figures published for it.

        Where every line is a defence of its own, the columns are in the order of the rows.
        """
        lines = dict.fromkeys(self._line(row) for row in self.rows)
        headers = [_NAMES[name] for name in self.down]
        cells = [list(line) for line in lines]
        ordered = self.rows if "defence" in self.down else sorted(self.rows, key=_column_order)
        columns = dict.fromkeys(self._column(row) for row in ordered)
        defences = [""] if "defence" in self.down else list(dict.fromkeys(row.defence for row in ordered))
        for defence in defences:
            of = [row for row in self.rows if defence in ("", row.defence)]
            for column in [key for key in columns if any(self._column(row) == key for row in of)]:
                headers.append(", ".join(column))
                for line, row in zip(lines, cells, strict=True):
                    row.append(self._measured([r for r in of if self._column(r) == column and self._line(r) == line]))
            if any(row.published is not None for row in of):
                headers.append("published" if len(defences) == 1 else f"published, {formatting.defence(defence)}")
                for line, row in zip(lines, cells, strict=True):
                    row.append(_published([r for r in of if self._line(r) == line]))
        return tuple(headers), tuple(tuple(row) for row in cells)

    def _sentence(self, name: str) -> str:
        return f"{_NAMES[name]}: {said(self.rows[0], name)}."

    def _line(self, row: Row) -> Key:
        return tuple(said(row, name) for name in self.down)

    def _column(self, row: Row) -> Key:
        return tuple(said(row, name) for name in self.across)

    def _marks(self) -> dict[str, str]:
        noted = marks(row.note for row in self.rows)
        return dict.fromkeys(noted, "") if "note" in self.down else noted

    def _counts(self) -> set[int]:
        return {row.n for row in self.rows if row.accuracy is not None}

    def _measured(self, rows: list[Row]) -> str:
        mark = self._marks()
        numbers = len(self._counts()) > 1
        parts = []
        for row in rows:
            if row.accuracy is None:
                text = formatting.MISSING if row.published is None else formatting.PUBLISHED_ONLY
            else:
                images = f", n = {row.n:,}" if numbers else ""
                text = f"{formatting.share(row.accuracy)} {formatting.interval(row)}".strip() + images
            parts.append(text + mark[row.note])
        return "; ".join(dict.fromkeys(parts)) or formatting.MISSING


def said(row: Row, name: str) -> str:
    """Returns a field of a row in words; "strength" is its attack with its eps, "figure" its place of the four."""
    if name in ("strength", "figure"):
        return formatting.strength(row) if name == "strength" else formatting.figure(row)
    if name == "seen":
        return formatting.MISSING if row.seen is None else "yes" if row.seen else "no"
    if name == "note":
        return row.note or formatting.MISSING
    if name == "eps":
        return "0 (clean)" if formatting.is_clean(row) else formatting.eps(row.eps)
    words = {"attack": formatting.attack, "defence": formatting.defence}.get(name, str)
    return words(getattr(row, name))


def _published(rows: list[Row]) -> str:
    known = dict.fromkeys(formatting.share(row.published) for row in rows if row.published is not None)
    return " / ".join(known) or formatting.MISSING


def _column_order(row: Row) -> tuple[bool, int]:
    return row.defence != "none", formatting.PROTOCOLS.index(row.protocol)
