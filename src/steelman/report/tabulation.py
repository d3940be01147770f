"""Rows to tables: which table a row stands in, and under which column."""

from __future__ import annotations

from collections.abc import Iterable

from steelman.records import Evaluation, Protocol, Row
from steelman.report import formatting, roc
from steelman.report.pivot import Pivot
from steelman.report.table import Table, marks

_IN_PERCENT = "Accuracy in %, in brackets its 95 % interval."
_PAPER = {
    "1a": "Table 1a · accuracy against ε under FGSM",
    "1b": "Table 1b · accuracy against ε under PGD",
    "2": "Table 2 · with and without defence",
    "3": "Table 3 · comparison, with latency",
}
_OURS = {
    "holds": "What holds when the attacker knows it",
    "breadth": "One purifier against everything",
    "defences": "Every defence, unknown to the attacker and known",
    "training": "The article's comparison · attacks seen in training and not",
    "ablation": "Each ingredient of the training, changed by itself",
}
_ACROSS = {"holds": ("figure",)}
_ALSO = {
    "holds": "Static: made on the bare cnn, shown to the defence. Adaptive worst: what survives that and the cascades "
    "standard and AutoAttack through the whole pipeline. Certified: what is proved to survive any change in the ball.",
    "breadth": "Each attack goes through the whole pipeline. Seen in training: FGSM and PGD in L∞, at some of these ε. "
    "Nothing else was, though APGD and Square work inside a ball that was trained on.",
}
_PAPER_LATENCIES = (
    "The paper prints 14.80 s for Defense-GAN, 0.11 s for PuVAE and 0.008 s for its own auto-encoder, timed on other "
    "machines in other ways: set beside ours they give an order of magnitude, no more."
)


def tables(evaluation: Evaluation) -> tuple[Table, ...]:
    """Returns every table that has rows: the paper's first, in its order, then the others as they come."""
    names = list(dict.fromkeys(row.table for row in evaluation.rows))
    ordered = [name for name in _PAPER if name in names] + [name for name in names if name not in _PAPER]
    found = [table for name in ordered for table in _named(name, [r for r in evaluation.rows if r.table == name])]
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


def _named(name: str, rows: list[Row]) -> list[Table]:
    if name not in ("1a", "1b", "2", *_OURS):
        title = _PAPER.get(name) or ("Evaluation" if name == "evaluate" else f"Table “{name}”")
        return [_long(title, rows, _PAPER_LATENCIES if name == "3" else "")]
    datasets = dict.fromkeys(row.dataset for row in rows)
    return [_wide(name, data, [row for row in rows if row.dataset == data]) for data in datasets]


def _wide(name: str, data: str, rows: list[Row]) -> Table:
    if name == "breadth":
        pivot = Pivot.of(rows, ("strength", "seen", "note"), ("defence",))
    elif name in _OURS:
        pivot = Pivot.of(rows, ("defence", "classifier"), _ACROSS.get(name, ("strength", "protocol")))
    elif name == "2":
        pivot = Pivot.of(sorted(rows, key=_attack_order), ("strength", "protocol", "classifier"), ("defence",))
    else:
        several = len({row.attack for row in rows if not formatting.is_clean(row)}) > 1
        down = ("eps", "attack") if several else ("eps",)
        pivot = Pivot.of(sorted(rows, key=lambda row: row.eps), down, ("protocol", "classifier", "defence"))
    at = _radius(rows) if name == "holds" else ""
    caption = " ".join(filter(None, (at, _ALSO.get(name, ""), pivot.constant, _IN_PERCENT, pivot.images)))
    headers, lines = pivot.content()
    return Table(f"{(_PAPER | _OURS)[name]} · {formatting.dataset(data)}", caption, headers, lines, pivot.footnotes)


def _radius(rows: list[Row]) -> str:
    known = [row for row in rows if not formatting.is_clean(row) and row.protocol != Protocol.STATIC]
    balls = dict.fromkeys(formatting.ball(row.norm, row.eps) for row in known)
    return f"{', '.join(balls)}." if balls else ""


def _long(title: str, rows: list[Row], also: str) -> Table:
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
    caption = " ".join(filter(None, (said, "A line is one pipeline under one attack.", also)))
    return Table(title, caption, tuple(shown), lines, _footnotes(mark))


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
