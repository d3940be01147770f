"""The accuracy of one case against ε, with the point that was asked for and what is proved there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steelman.records import Case, Curve
from steelman.report import formatting
from steelman.report.drawing import drawn, stroke
from steelman.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (5.0, 3.1)
_DRAWN, _LISTED = 200, 12
_ATTACKED, _PROVED = 0, 2
Point = tuple[float, float, float, float]


@dataclass(frozen=True)
class Key:
    """One entry of the legend.  kind: which mark stands beside it."""

    kind: str
    text: str


def points(curve: Curve) -> tuple[Point, ...]:
    """Returns the points of a curve by eps, without those that lie nowhere."""
    return tuple(sorted(point for point in curve.points if all(map(math.isfinite, point))))


def keys(case: Case) -> tuple[Key, ...]:
    """Returns the legend: every mark that the drawing has, with its figure."""
    curve = case.curve
    if curve is None:
        return ()
    known = [
        Key("curve", "accuracy under everything that was found, with its 95 % interval"),
        Key("threat", f"{formatting.ball(case.norm, case.eps)}, where attacks leave {_percent(case.kept, case)}"),
        Key("chance", f"chance: the largest class, {formatting.percent(curve.chance)}"),
    ]
    if curve.median is not None:
        known.append(
            Key("median", f"median distance {curve.median:.3g}: half of what is classified correctly is broken there")
        )
    certified = case.certified_interval.certified
    if certified is not None:
        known.append(
            Key("proved", f"proved there: {_percent(certified, case)}, the certified–attacked interval above it")
        )
    return tuple(known)


def description(case: Case) -> str:
    """Returns the curve in words, for those who do not see it."""
    curve = case.curve
    message = (
        [f"{formatting.percent(p[1])} at ε {formatting.eps(p[0])}" for p in _spread(points(curve), 5)] if curve else []
    )
    return f"Accuracy against ε: {formatting.listed(message)}. {'; '.join(key.text for key in keys(case)[1:])}."


def table(case: Case) -> Table | None:
    """Returns some of the curve's points as figures; None without a curve."""
    known = points(case.curve) if case.curve else ()
    if not known:
        return None
    lines = tuple(
        (f"{eps:.4g}", f"{100 * at:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        for eps, at, low, high in _spread(known, _LISTED)
    )
    return Table("Accuracy against ε", "In percent, in brackets the 95 % interval.", ("ε", "Accuracy, %"), lines)


def svg(case: Case, prefix: str) -> str:
    """Returns the curve of a case as an SVG element, "" where it has none.

    prefix: what its ids start with, different for every drawing of a page.
    """
    curve = case.curve
    if curve is None or not points(curve):
        return ""
    return drawn(lambda axes: _paint(axes, case, curve), prefix, _SIZE)


def _paint(axes: Axes, case: Case, curve: Curve) -> None:
    known = _spread(points(curve), _DRAWN)
    eps = [point[0] for point in known]
    at, low, high = ([100 * point[i] for point in known] for i in (1, 2, 3))
    ink = axes.xaxis.label.get_color()
    colour = stroke(_ATTACKED)["color"]
    end = max(*eps, case.eps, curve.median or 0.0) or 1.0
    axes.set_xlim(-0.02 * end, 1.03 * end)
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 20))
    axes.grid(visible=True, axis="y", color=ink, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"ε ({case.norm})" if case.norm in ("Linf", "L2", "L1", "L0") else "ε")
    axes.set_ylabel("accuracy, %")
    axes.axhline(100 * curve.chance, color=ink, linestyle=(0, (5, 3)), linewidth=0.9, alpha=0.7)
    axes.axvline(case.eps, color=ink, linestyle=(0, (1, 2)), linewidth=1.2)
    axes.fill_between(eps, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(eps, at, color=colour, linewidth=1.9, marker="o" if len(eps) == 1 else None)
    if curve.median is not None:
        axes.plot([curve.median], [-3], color=ink, marker="^", markersize=8, clip_on=False, zorder=5)
    attacked = 100 * formatting.fraction(case.kept, case.n)
    if case.certified_interval.certified is not None:
        proved = 100 * formatting.fraction(case.certified_interval.certified, case.n)
        green = stroke(_PROVED)["color"]
        axes.plot([case.eps] * 2, [proved, attacked], color=green, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot([case.eps], [proved], color=green, marker="D", markersize=6, zorder=5)
    axes.plot([case.eps], [attacked], color=colour, marker="o", markersize=6.5, zorder=6)


def _spread(known: Sequence[Point], most: int) -> list[Point]:
    """Returns so many points at most, the ends always, the others evenly by their places."""
    if len(known) <= most:
        return list(known)
    places = sorted({round(i * (len(known) - 1) / (most - 1)) for i in range(most)})
    return [known[place] for place in places]


def _percent(count: int, case: Case) -> str:
    return formatting.percent(formatting.fraction(count, case.n))
