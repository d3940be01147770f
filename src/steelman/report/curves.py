"""Rows to curves: which accuracy stands at which ε, and for whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from steelman.records import Evaluation, Protocol, Row
from steelman.report import formatting
from steelman.report.findings import measured

_STYLES = 6


@dataclass(frozen=True)
class Series:
    """One pipeline over ε: `points` measured here, and `published` ones, both sorted by eps.

    style: in [0, 6), the same for the same defence in every chart of a page, as long as it stands there once.
    """

    name: str
    style: int
    points: tuple[Row, ...]
    published: tuple[Row, ...]


@dataclass(frozen=True)
class Chart:
    """Accuracy against ε for one data set, attack with its norm, and protocol."""

    dataset: str
    attack: str
    protocol: str
    series: tuple[Series, ...]
    norm: str = "Linf"

    @property
    def title(self) -> str:
        """What the chart shows."""
        norm = "" if self.norm in ("Linf", "none") else f" ({self.norm})"
        return f"{formatting.dataset(self.dataset)}, {formatting.attack(self.attack)}{norm}, {self.protocol}"

    @property
    def description(self) -> str:
        """The end points of every curve, for those who do not see it."""
        parts = []
        for series in self.series:
            ends = [row for row in (*series.points[:1], *series.points[-1:]) if row.accuracy is not None]
            said = [f"{formatting.percent(row.accuracy or 0.0)} at ε {formatting.eps(row.eps)}" for row in ends]
            parts.append(f"{series.name} from {' to '.join(said)}" if said else f"{series.name}: published points only")
        return f"Accuracy against ε. {'; '.join(parts)}."


def charts(evaluation: Evaluation) -> tuple[Chart, ...]:
    """Returns every chart in which some pipeline is known at two ε or more, clean images counted for the first.

    A table's section may ask for more ε, or for no curves.
    """
    rows = [row for row in evaluation.rows if _is_drawn(row, evaluation)]
    attacked = [row for row in rows if not formatting.is_clean(row)]
    known = {row.defence for row in measured(attacked)}
    defences = sorted({row.defence for row in attacked}, key=lambda name: (name != "none", name not in known, name))
    styles = {defence: i % _STYLES for i, defence in enumerate(defences, 0 if "none" in defences else 1)}
    panels = dict.fromkeys(
        (row.dataset, row.attack, row.protocol, row.norm) for row in sorted(attacked, key=_protocol_order)
    )
    datasets = list(dict.fromkeys(row.dataset for row in attacked))
    attacks = list(dict.fromkeys(row.attack for row in attacked))
    ordered = sorted(panels, key=lambda panel: (attacks.index(panel[1]), datasets.index(panel[0])))
    found = (_chart(rows, panel, styles) for panel in ordered)
    return tuple(chart for chart in found if any(_known(series) > 1 for series in chart.series))


def _chart(rows: Iterable[Row], panel: tuple[str, str, str, str], styles: dict[str, int]) -> Chart:
    dataset, attack, protocol, norm = panel
    here = [row for row in rows if row.dataset == dataset]
    attacked = [
        r for r in here if (r.attack, r.protocol, r.norm) == (attack, protocol, norm) and not formatting.is_clean(r)
    ]
    several = len({row.classifier for row in measured(attacked)}) > 1
    series: list[Series] = []
    for pipeline in sorted({_pipeline(row) for row in attacked}, key=_order):
        own = [row for row in attacked if _pipeline(row) == pipeline]
        clean = _clean([row for row in here if _pipeline(row) == pipeline], own)
        ours = measured([*clean, *own])
        printed = [row for row in (*clean, *own) if row.published is not None]
        name = _name(pipeline, several, bool(ours))
        style = _free(styles[pipeline[1]], {other.style for other in series})
        series.append(Series(name, style, _one_each(ours), _one_each(printed)))
    return Chart(dataset, attack, protocol, tuple(series), norm)


def _name(pipeline: tuple[str, str], several: bool, known: bool) -> str:
    defence = formatting.defence(pipeline[1])
    return f"{pipeline[0]}, {defence}" if several and known else defence if known else f"{defence}, published"


def _free(style: int, taken: set[int]) -> int:
    """Returns the style, or the next that no other curve of the chart has."""
    return next((i for k in range(_STYLES) if (i := (style + k) % _STYLES) not in taken), style)


def _clean(rows: list[Row], attacked: list[Row]) -> list[Row]:
    """Returns the rows that stand at ε 0: of the same protocol, or static ones under an adaptive curve."""
    protocol = attacked[0].protocol
    tables = {row.table for row in attacked}
    clean = [row for row in rows if formatting.is_clean(row)]
    same = [row for row in clean if row.protocol == protocol]
    other = [row for row in clean if row.protocol == Protocol.STATIC and protocol == Protocol.ADAPTIVE]
    return sorted(same or other, key=lambda row: row.table not in tables)


def _one_each(rows: list[Row]) -> tuple[Row, ...]:
    """Returns one row for each eps: the one that measured most images, the first of equals."""
    best: dict[float, Row] = {}
    for row in rows:
        eps = 0.0 if formatting.is_clean(row) else row.eps
        if eps not in best or row.n > best[eps].n:
            best[eps] = row
    return tuple(best[eps] for eps in sorted(best))


def _is_drawn(row: Row, evaluation: Evaluation) -> bool:
    """Whether the section of a row's table wants a curve through so many ε as its attack has, the clean one counted."""
    least = evaluation.presentation.of(row.table).curve_from
    if least is None or formatting.is_clean(row):
        return least is not None
    kind = (row.table, row.dataset, row.attack, row.norm)
    return len({r.eps for r in evaluation.rows if (r.table, r.dataset, r.attack, r.norm) == kind}) + 1 >= least


def _known(series: Series) -> int:
    return max(len(series.points), len(series.published))


def _pipeline(row: Row) -> tuple[str, str]:
    return row.classifier, row.defence


def _order(pipeline: tuple[str, str]) -> tuple[bool, str, str]:
    return pipeline[1] != "none", pipeline[1], pipeline[0]


def _protocol_order(row: Row) -> int:
    return formatting.PROTOCOLS.index(row.protocol)
