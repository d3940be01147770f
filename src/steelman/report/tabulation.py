"""Rows to tables: which table a row stands in, and under which column."""

from __future__ import annotations

from collections.abc import Iterable

from steelman.records import Evaluation, Protocol, Row, Section
from steelman.report import formatting, roc
from steelman.report.pivot import Pivot
from steelman.report.table import Table, marks

_IN_PERCENT = "Accuracy in %, in brackets its 95 % interval."


def tables(evaluation: Evaluation) -> tuple[Table, ...]:
    """Returns every table that has rows: those with a section first, in the sections' order, then as they come."""
    names = dict.fromkeys(row.table for row in evaluation.rows)
    listed = [section.table for section in evaluation.presentation.sections if section.table in names]
    sections = [evaluation.presentation.of(name) for name in dict.fromkeys((*listed, *names))]
    found = [table for one in sections for table in _laid(one, [r for r in evaluation.rows if r.table == one.table])]
    return (*found, *roc.tables(evaluation.detections))


def latencies(evaluation: Evaluation) -> Table | None:
    """Returns the times for one image, a pipeline a row; None where no row has one."""
    timed = [row for row in evaluation.rows if row.latency_ms is not None]
    lines = dict.fromkeys(
        (
            formatting.dataset(row.dataset),
            *_pipeline(row),
            _latency(row),
            str(row.threads or formatting.MISSING),
            _origin(row),
        )
        for row in timed
    )
    if not lines:
        return None
    return Table(
        "Time for one image",
        "Median for one image through defence and classifier together. Times of different machines do not compare.",
        ("Data set", "Classifier", "Defence", "Median", "Threads", "Origin"),
        tuple(lines),
    )


def _laid(section: Section, rows: list[Row]) -> list[Table]:
    if not section.down:
        return [_long(section, rows)]
    datasets = dict.fromkeys(row.dataset for row in rows)
    return [_wide(section, data, [row for row in rows if row.dataset == data]) for data in datasets]


def _wide(section: Section, data: str, rows: list[Row]) -> Table:
    """Clean rows have no attack: where all others have one in common it needs no column."""
    one = len({row.attack for row in rows if not formatting.is_clean(row)}) < 2
    down = tuple(name for name in section.down if name != "attack" or not one)
    pivot = Pivot.of(sorted(rows, key=_attack_order) if section.by_strength else rows, down, section.across)
    at = _radius(rows) if "figure" in section.across else ""
    caption = " ".join(filter(None, (at, section.caption, pivot.constant, _IN_PERCENT, pivot.images)))
    headers, lines = pivot.content()
    return Table(f"{section.title} · {formatting.dataset(data)}", caption, headers, lines, pivot.footnotes)


def _radius(rows: list[Row]) -> str:
    known = [row for row in rows if not formatting.is_clean(row) and row.protocol != Protocol.STATIC]
    balls = dict.fromkeys(formatting.ball(row.norm, row.eps) for row in known)
    return f"{', '.join(balls)}." if balls else ""


def _long(section: Section, rows: list[Row]) -> Table:
    """One line a row; what is the same in all of them moves into the caption."""
    mark = marks(row.note for row in rows)
    columns = {
        "Data set": [formatting.dataset(row.dataset) for row in rows],
        "Classifier": [row.classifier for row in rows],
        "Defence": [formatting.defence(row.defence) for row in rows],
        "Attack": [formatting.attacked(row) for row in rows],
        "ε": [formatting.MISSING if "none" in (row.attack, row.norm) else formatting.eps(row.eps) for row in rows],
        "Protocol": [str(row.protocol) for row in rows],
        "n": [f"{row.n:,}" if row.n else formatting.MISSING for row in rows],
        "Accuracy, %": [_accuracy(row) + mark[row.note] for row in rows],
        "95 % interval": [formatting.interval(row) or formatting.MISSING for row in rows],
        "Published, %": [
            formatting.MISSING if row.published is None else formatting.share(row.published) for row in rows
        ],
        "Latency": [_latency(row) + (f", {formatting.threads(row.threads)}" if row.threads else "") for row in rows],
    }
    constant = [name for name in ("Data set", "Classifier") if len(set(columns[name])) == 1]
    said = " ".join(f"{name}: {columns[name][0]}." for name in constant)
    empty = [name for name in ("Published, %", "Latency") if set(columns[name]) == {formatting.MISSING}]
    shown = {name: cells for name, cells in columns.items() if name not in (*constant, *empty)}
    lines = tuple(zip(*shown.values(), strict=True))
    caption = " ".join(filter(None, (said, "A line is one pipeline under one attack.", section.caption)))
    return Table(section.title, caption, tuple(shown), lines, _footnotes(mark))


def _footnotes(mark: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{sign} {note}" for note, sign in mark.items() if note)


def _attack_order(row: Row) -> tuple[bool, str, float, int]:
    return not formatting.is_clean(row), row.attack, row.eps, formatting.PROTOCOLS.index(row.protocol)


def _accuracy(row: Row) -> str:
    if row.accuracy is not None:
        return formatting.share(row.accuracy)
    return formatting.MISSING if row.published is None else formatting.PUBLISHED_ONLY


def _latency(row: Row) -> str:
    return formatting.MISSING if row.latency_ms is None else formatting.latency(row.latency_ms)


def _origin(row: Row) -> str:
    return "published" if row.accuracy is None and row.published is not None else "measured here"


def _pipeline(row: Row) -> Iterable[str]:
    return row.classifier, formatting.defence(row.defence)
