"""What the rows say in words: the headline of each data set, what collapses, and where FGSM leaks the label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from steelman.records import Evaluation, Focus, Protocol, Row
from steelman.report import formatting

COLLAPSE = 0.2
_ONE_STEP = ("fgsm",)


@dataclass(frozen=True)
class Headline:
    """The four figures of one data set that a reader takes away; None where there is no such row.

    clean, undefended, defended: the attacker does not know of a defence.  adaptive: the same defence, known.
    """

    dataset: str
    clean: Row | None
    undefended: Row | None
    defended: Row | None
    adaptive: Row | None

    @property
    def figures(self) -> tuple[tuple[str, Row], ...]:
        """The figures there are, each with its label."""
        defended = self.defended or self.adaptive
        name = formatting.defence(defended.defence) if defended else ""
        labelled = (
            ("clean images, no defence", self.clean),
            (f"{_under(self.undefended)}, no defence", self.undefended),
            (f"{_under(self.defended)}, with {name}", self.defended),
            (f"{_under(self.adaptive)}, with {name}", self.adaptive),
        )
        return tuple((label, row) for label, row in labelled if row is not None)

    @property
    def sentence(self) -> str:
        """The figures in words, without the name of the data set."""
        read = []
        if self.clean:
            read.append(f"{_accuracy(self.clean)} of the clean images")
        if self.undefended:
            read.append(f"{_accuracy(self.undefended)} under {_under(self.undefended)}")
        bare = self.clean or self.undefended
        parts = [f"{bare.classifier} without a defence classifies {formatting.listed(read)} correctly."] if bare else []
        if self.defended:
            what = (
                "" if self.undefended and _alike(self.defended, self.undefended) else f" under {_under(self.defended)}"
            )
            parts.append(
                f"With {self.defended.defence} in front, unknown to the attacker: {_accuracy(self.defended)}{what}."
            )
        if self.adaptive:
            parts.append(f"Once the attacker knows {self.adaptive.defence}: {_accuracy(self.adaptive)}.")
        return " ".join(parts)


def measured(rows: Iterable[Row]) -> list[Row]:
    """Returns the rows that hold a figure of ours."""
    return [row for row in rows if row.accuracy is not None]


def headlines(evaluation: Evaluation) -> tuple[Headline, ...]:
    """Returns the headline of every data set with a figure of ours, in the order of the rows."""
    rows = measured(evaluation.rows)
    return tuple(
        _headline(name, [r for r in rows if r.dataset == name], evaluation.presentation.focus)
        for name in dict.fromkeys(r.dataset for r in rows)
    )


def collapses(evaluation: Evaluation) -> tuple[str, ...]:
    """Returns a sentence for each pipeline that loses 20 points or more once the attacker knows it.

    Of several ε the one with the largest fall is told, for each attack.
    """
    rows = measured(evaluation.rows)
    falls: dict[tuple[str, str, str], dict[str, tuple[float, str]]] = {}
    for row in rows:
        if (
            row.protocol != Protocol.ADAPTIVE
            or row.defence == "none"
            or formatting.is_clean(row)
            or _told_apart(row, rows)
        ):
            continue
        oblivious = [
            r for r in rows if r.protocol == Protocol.STATIC and _place(r) == _place(row) and not formatting.is_clean(r)
        ]
        same = [r for r in oblivious if r.attack == row.attack] or oblivious
        fall = max((_value(r) - _value(row) for r in same), default=0.0)
        if fall >= COLLAPSE:
            known = falls.setdefault((row.dataset, row.defence, row.classifier), {})
            text = f"{formatting.strength(row)} from {formatting.percent(_value(row) + fall)} to {_accuracy(row)}"
            known[row.attack] = max(known.get(row.attack, (0.0, "")), (fall, text))
    return tuple(
        f"{formatting.dataset(dataset)}, {defence} with {classifier}: {_told(known)}."
        for (dataset, defence, classifier), known in falls.items()
    )


def _told_apart(row: Row, rows: list[Row]) -> bool:
    """Whether a row only sums up others, each of which is told."""
    if not row.worst_case:
        return False
    return any(r.protocol == Protocol.ADAPTIVE and r.attack != row.attack and _place(r) == _place(row) for r in rows)


def _told(falls: dict[str, tuple[float, str]]) -> str:
    return formatting.listed(text for _, text in falls.values())


def unmeasured(evaluation: Evaluation) -> tuple[str, ...]:
    """Returns the data sets that have a defended figure and no adaptive one."""
    defended = [r for r in measured(evaluation.rows) if r.defence != "none" and not formatting.is_clean(r)]
    known = {row.dataset for row in defended if row.protocol == Protocol.ADAPTIVE}
    return tuple(dict.fromkeys(formatting.dataset(row.dataset) for row in defended if row.dataset not in known))


def leaks(evaluation: Evaluation) -> tuple[str, ...]:
    """Returns a sentence for each defended FGSM figure above the clean figure of the same pipeline."""
    rows = measured(evaluation.rows)
    clean = {_pipeline(row): row for row in reversed(rows) if formatting.is_clean(row)}
    said = []
    for row in rows:
        known = clean.get(_pipeline(row))
        if row.attack not in _ONE_STEP or row.defence == "none" or formatting.is_clean(row) or known is None:
            continue
        if _value(row) > _value(known):
            said.append(
                f"{formatting.dataset(row.dataset)}, {row.protocol}: {row.classifier} behind {row.defence} scores "
                f"{_precise(row)} under {formatting.strength(row)}, above its {_precise(known)} on clean images."
            )
    return tuple(dict.fromkeys(said))


def _headline(name: str, rows: list[Row], focus: Focus) -> Headline:
    attacked = [row for row in rows if not formatting.is_clean(row)]
    adaptive = [row for row in attacked if row.protocol == Protocol.ADAPTIVE and row.defence != "none"]
    oblivious = [
        row for row in attacked if row.protocol not in (Protocol.ADAPTIVE, Protocol.CERTIFIED) and row.defence != "none"
    ]
    chosen = min(oblivious, key=lambda row: _preference(row, adaptive, focus), default=None)
    first = min((_rank(row, focus) for row in adaptive), default=0)
    twins = [
        row for row in adaptive if (_rank(row, focus) == first if chosen is None else _place(row) == _place(chosen))
    ]
    if chosen is None:
        twins = [row for row in twins if row.worst_case] or twins
    known = min(twins, key=lambda row: (_value(row), chosen is not None and row.attack != chosen.attack), default=None)
    anchor = chosen or known or min(attacked, key=lambda row: _preference(row, [], focus), default=None)
    bare = [row for row in attacked if row.defence == "none" and (anchor is None or _alike(row, anchor))]
    clean = [row for row in rows if formatting.is_clean(row) and row.defence == "none"]
    return Headline(name, _first(clean, anchor), _first(bare, anchor), chosen, known)


def _first(rows: list[Row], anchor: Row | None) -> Row | None:
    """Returns the row that stands nearest to the anchor: same classifier, same protocol, else static."""

    def distance(row: Row) -> tuple[bool, bool, bool]:
        other = anchor is not None and row.classifier != anchor.classifier
        return other, anchor is not None and row.protocol != anchor.protocol, row.protocol != Protocol.STATIC

    return min(rows, key=distance, default=None)


def _rank(row: Row, focus: Focus) -> int:
    """The defences in focus first."""
    return focus.defences.index(row.defence) if row.defence in focus.defences else len(focus.defences)


def _preference(row: Row, adaptive: list[Row], focus: Focus) -> tuple[bool, bool, bool, bool, bool, int, float]:
    """Sorts first what a headline should show: static, with an adaptive twin, what is in focus."""
    return (
        row.protocol == Protocol.AS_PUBLISHED,
        row.norm != "Linf",
        not any(_place(row) == _place(twin) for twin in adaptive),
        row.attack != focus.attack or abs(row.eps - focus.eps) > 1e-9,
        row.attack in _ONE_STEP,
        _rank(row, focus),
        -row.eps,
    )


def _under(row: Row | None) -> str:
    return "" if row is None else f"{row.protocol} {formatting.strength(row)}"


def _alike(row: Row, other: Row) -> bool:
    return row.attack == other.attack and row.eps == other.eps


def _place(row: Row) -> tuple[str, str, str, float]:
    return row.dataset, row.classifier, row.defence, row.eps


def _pipeline(row: Row) -> tuple[str, str, str, str]:
    return row.dataset, row.classifier, row.defence, row.protocol


def _value(row: Row) -> float:
    return row.accuracy if row.accuracy is not None else 0.0


def _accuracy(row: Row) -> str:
    return formatting.percent(_value(row))


def _precise(row: Row) -> str:
    return f"{formatting.share(_value(row))} %"
