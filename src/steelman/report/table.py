"""A table of strings: what the terminal, Markdown and HTML all render."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from steelman.report.formatting import PUBLISHED_ONLY

_FIGURE = re.compile(rf"[\d\[–]|{PUBLISHED_ONLY}")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Table:
    """One table, ready to be shown.

    title, caption: what it is, and what holds for every cell.  headers: one for each column.  rows: as many cells each.
    notes: footnotes, each starting with the mark that its cells carry.
    Cells may hold names from outside: a renderer escapes them.
    """

    title: str
    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column whether it holds figures, to be set flush right."""
        return tuple(
            all(_FIGURE.match(cell) for cell in column) and any(cell[:1].isdigit() for cell in column)
            for column in zip(*self.rows, strict=True)
        )

    def to_markdown(self) -> str:
        """Returns the table as Markdown, with a heading of the third level."""
        lines = [f"### {plain(self.title)}", "", plain(self.caption), "", _line(self.headers)]
        lines.append("|" + "|".join("---:" if right else "---" for right in self.numeric) + "|")
        lines += [_line(row) for row in self.rows]
        for note in self.notes:
            lines += ["", plain(note)]
        return "\n".join(lines) + "\n"


def marks(notes: Iterable[str]) -> dict[str, str]:
    """Returns a superscript mark for each different note, in the order of the notes; an empty note has none.

    >>> marks(["b", "", "a", "b"])
    {'': '', 'b': '¹', 'a': '²'}
    """
    different = dict.fromkeys(note for note in notes if note)
    return {"": ""} | {note: str(i).translate(_SUPERSCRIPTS) for i, note in enumerate(different, 1)}


def plain(text: str) -> str:
    """Returns a text as one line of Markdown, in a table's cell too: no tag and no link in it means anything."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("](", "]\\(")


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"
