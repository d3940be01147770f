"""What must hold of any honest set of rows, looked at row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from steelman.records import Evaluation, Protocol, Row
from steelman.report import formatting
from steelman.report.findings import measured

Key = tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """What must hold of the rows, held against them.

    compared: how many pairs or rows it could be held against.  failures: a sentence for each that breaks it.
    """

    claim: str
    compared: int
    failures: tuple[str, ...]


def claims(evaluation: Evaluation) -> tuple[Claim, ...]:
    """Returns the claims that these rows can be held against, each with what broke it."""
    rows = measured(evaluation.rows)
    every = (
        _claim("Accuracy does not rise with ε under an iterated attack.", _rising(rows)),
        _claim("PGD is no weaker than one step of FGSM at the same ε.", _one_step(rows)),
        _claim("Knowing the defence does not make the attacker weaker.", _aware(rows)),
        _claim(
            "No adaptive figure of an iterated attack at L∞ ε ≥ 0.5 is above the largest class share.",
            _grey(rows, evaluation.presentation.largest_class),
        ),
        _claim("No more is proved than attacks leave.", _proved(rows)),
    )
    return tuple(claim for claim in every if claim.compared)


def _claim(claim: str, compared: Iterator[str]) -> Claim:
    said = list(compared)
    return Claim(claim, len(said), tuple(dict.fromkeys(sentence for sentence in said if sentence)))


def _rising(rows: list[Row]) -> Iterator[str]:
    iterated = [row for row in rows if row.attack != "fgsm" and not formatting.is_clean(row)]
    for series in _grouped(iterated, lambda r: (*_pipeline(r), r.protocol, r.attack, r.norm)):
        ordered = sorted({row.eps: row for row in reversed(series)}.values(), key=lambda row: row.eps)
        for weaker, stronger in combinations(ordered, 2):
            yield _broken(
                stronger, weaker, "rises with ε: the attack at the larger ε has not found what the smaller one did"
            )


def _one_step(rows: list[Row]) -> Iterator[str]:
    by_attack = lambda r: (*_pipeline(r), r.protocol, r.norm, str(r.eps))  # noqa: E731
    for group in _grouped([row for row in rows if not formatting.is_clean(row)], by_attack):
        single = [row for row in group if row.attack == "fgsm"]
        for row in [row for row in group if row.attack == "pgd" and single]:
            yield _broken(
                row, single[0], "is weaker than a single step: a sign of masked gradients or of too few steps"
            )


def _aware(rows: list[Row]) -> Iterator[str]:
    for group in _grouped(
        [row for row in rows if not formatting.is_clean(row)], lambda r: (*_pipeline(r), r.attack, r.norm, str(r.eps))
    ):
        static = [row for row in group if row.protocol == Protocol.STATIC]
        for row in [row for row in group if row.protocol == Protocol.ADAPTIVE and static]:
            yield _broken(row, static[0], "is above the static figure: the adaptive attack is weak")


def _grey(rows: list[Row], largest: Mapping[str, float]) -> Iterator[str]:
    for row in rows:
        limit = largest.get(row.dataset)
        if (
            limit is None
            or row.protocol != Protocol.ADAPTIVE
            or row.eps < 0.5
            or row.norm != "Linf"
            or row.attack == "fgsm"
        ):
            continue  # one step searches no ball
        low = row.accuracy if row.ci_low is None else row.ci_low
        if formatting.is_clean(row) or low is None:
            continue
        why = "which no deterministic classifier can: the attack is weak"
        weak = f"{_named(row)}, more than {formatting.share(limit)} %, {why}."
        yield weak if low > limit else ""


def _proved(rows: list[Row]) -> Iterator[str]:
    """Of the same images, so that no interval is any excuse."""
    for group in _grouped(rows, lambda r: (*_pipeline(r), r.table, r.norm, str(r.eps))):
        left = [row.accuracy for row in group if row.protocol == Protocol.ADAPTIVE and row.accuracy is not None]
        for row in [row for row in group if row.protocol == Protocol.CERTIFIED and left]:
            wrong = row.accuracy is not None and row.accuracy > min(left)
            yield f"{_named(row)}, more than attacks leave: one of the two is wrong." if wrong else ""


def _broken(row: Row, bound: Row, why: str) -> str:
    """Returns a sentence if a row lies above the interval of its bound, else nothing."""
    high = bound.accuracy if bound.ci_high is None else bound.ci_high
    if row.accuracy is None or high is None or row.accuracy <= high:
        return ""
    return f"{_named(row)} {why} ({_named(bound)})."


def _grouped(rows: list[Row], key: Callable[[Row], Key]) -> list[list[Row]]:
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def _pipeline(row: Row) -> tuple[str, str, str]:
    return row.dataset, row.classifier, row.defence


def _named(row: Row) -> str:
    figure = formatting.percent(row.accuracy) if row.accuracy is not None else formatting.MISSING
    place = f"{formatting.dataset(row.dataset)}, {row.classifier}, {formatting.defence(row.defence)}"
    return f"{place}, {row.protocol}, {formatting.strength(row)}: {figure}"
