"""Detections to tables and ROC curves: every attack beside the one that a detector was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steelman.records import Detection
from steelman.report import formatting
from steelman.report.drawing import drawn, stroke
from steelman.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = 6
_LEAST = 1e-3


@dataclass(frozen=True)
class Line:
    """The ROC of one detector for one attack.  style: in [0, 6), another for every line of a panel."""

    name: str
    style: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """The ROCs of one detector."""

    title: str
    description: str
    lines: tuple[Line, ...]


def tables(detections: Sequence[Detection]) -> tuple[Table, ...]:
    """Returns two tables for each data set and fit: areas, and true-positive rates, a detector a line."""
    kinds = dict.fromkeys((one.dataset, one.classifier, one.fitted_on, one.fpr) for one in detections)
    found: list[Table] = []
    for kind in kinds:
        own = [one for one in detections if (one.dataset, one.classifier, one.fitted_on, one.fpr) == kind]
        found += [_table(own, "auc"), _table(own, "tpr")]
    return tuple(found)


def panels(detections: Sequence[Detection]) -> tuple[Panel, ...]:
    """Returns a panel for each detector, and more where there are more than six attacks."""
    found = []
    for name in dict.fromkeys((one.dataset, one.detector) for one in detections):
        own = [one for one in detections if (one.dataset, one.detector) == name and one.curve]
        for start in range(0, len(own), _STYLES):
            part = own[start : start + _STYLES]
            lines = tuple(Line(_attack(one), style, one.curve) for style, one in enumerate(part))
            said = "; ".join(f"{_attack(one)} area {one.auc:.4f}" for one in part)
            found.append(Panel(f"{formatting.dataset(name[0])}, {name[1]}", f"ROC curves. {said}.", lines))
    return tuple(found)


def svg(panel: Panel, prefix: str) -> str:
    """Returns a panel as an SVG element.

    prefix: what its ids start with, different for every drawing of a page.
    """

    def paint(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_xlim(_LEAST, 1)
        axes.set_ylim(-3, 103)
        axes.set_xticks([0.001, 0.01, 0.1, 1], ["0.1", "1", "10", "100"])
        axes.minorticks_off()
        axes.grid(visible=True, axis="y", color=axes.xaxis.label.get_color(), alpha=0.15, linewidth=0.6)
        axes.set_xlabel("clean images flagged, %")
        axes.set_ylabel("attacked images flagged, %")
        for line in panel.lines:
            across = [max(false, _LEAST) for false, _ in line.points]
            up = [100 * true for _, true in line.points]
            axes.plot(across, up, **stroke(line.style), linewidth=1.8, drawstyle="steps-post")

    return drawn(paint, prefix)


def _table(own: Sequence[Detection], figure: str) -> Table:
    attacks = list(dict.fromkeys(_attack(one) for one in own))
    detectors = list(dict.fromkeys(one.detector for one in own))
    cells = {(one.detector, _attack(one)): _cell(one, figure) for one in own}
    rows = [(name, *(cells.get((name, attack), formatting.MISSING) for attack in attacks)) for name in detectors]
    counts = {_attack(one): str(one.positives) for one in own}
    rows.append(("attacked images that count", *(counts[attack] for attack in attacks)))
    first = own[0]
    rate = f"share of attacked images found where at most {100 * first.fpr:g} % of clean ones are flagged, in %"
    what = "Area under the ROC" if figure == "auc" else f"{rate[0].upper()}{rate[1:]}"
    title = (
        "Detectors · area under the ROC"
        if figure == "auc"
        else f"Detectors · found at {100 * first.fpr:g} % false alarms"
    )
    fitted = (
        f"Fitted on {formatting.attack(first.fitted_on)} alone" if first.fitted_on else "Fitted on clean images alone"
    )
    caption = (
        f"{what}, in brackets its 95 % interval. {fitted}; of {first.classifier}. Only attacked images that broke the "
        f"classifier count, beside {formatting.counted(first.negatives, 'clean image')} that it classifies correctly. "
        "Static: no attacker knew of a detector."
    )
    return Table(f"{title} · {formatting.dataset(first.dataset)}", caption, ("Detector", *attacks), tuple(rows))


def _cell(one: Detection, figure: str) -> str:
    value, low, high = (one.auc, one.auc_low, one.auc_high) if figure == "auc" else (one.tpr, one.tpr_low, one.tpr_high)
    if value is None or low is None or high is None:
        return formatting.MISSING
    if figure == "auc":
        return f"{value:.4f} [{low:.3f}, {high:.3f}]"
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _attack(one: Detection) -> str:
    name, _, rest = one.attack.partition(" ")
    return " ".join(filter(None, (formatting.attack(name), rest, "(fitted on)" if one.seen else "")))
