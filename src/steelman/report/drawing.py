"""Curves to inline SVG: no name from outside enters a drawing, and every colour is one of the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any, Protocol

from steelman.records import Row
from steelman.report import formatting
from steelman.report.curves import Chart, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Matplotlib only knows colours, so each colour of the page stands in a drawing as one that nobody would choose.
_TEXT = "#010203"
_SERIES = tuple(f"#0a0b{i:02x}" for i in range(0x10, 0x16))
_DASHES: tuple[tuple[float, ...], ...] = ((5, 2), (), (1, 1.4), (7, 2, 1.5, 2), (3, 1.2), (9, 3))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_SHAPES = (
    "M18 6a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M18 2h8v8h-8z",
    "M22 1l5 9h-10z",
    "M22 1l5 5l-5 5l-5-5z",
    "M22 11l5-9h-10z",
    "M20 1h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
)
_JOINED = "stroke-linejoin: round; stroke-linecap: butt"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "steelman",
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.unicode_minus": True,
    "path.simplify": False,
}


class Styled(Protocol):
    """What has a style of its own, in [0, 6)."""

    @property
    def style(self) -> int: ...


def svg(chart: Chart, prefix: str) -> str:
    """Returns the chart as an SVG element for the middle of a page, the same text every time.

    prefix: what its ids start with, different for every drawing of a page.
    """
    return drawn(lambda axes: _paint(axes, chart), prefix)


def drawn(paint: Callable[[Axes], None], prefix: str, size: tuple[float, float] = (3.9, 2.75)) -> str:
    """Returns what is painted on one pair of axes as an SVG element for the middle of a page.

    prefix: what its ids start with, different for every drawing of a page.  size: width and height, in inches.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0.0)
        axes.spines[["top", "right"]].set_visible(False)
        paint(axes)
        stream = StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(stream.getvalue(), prefix)


def stroke(style: int) -> dict[str, Any]:
    """Returns a curve's colour and dashes as matplotlib takes them.

    style: in [0, 6).
    """
    return {"color": _SERIES[style], "linestyle": (0, _DASHES[style]) if _DASHES[style] else "-"}


def swatch(series: Styled) -> tuple[str, str, str]:
    """Returns a series' colour, dashes and marker (in a box of 44 x 12) in SVG's words, for a legend."""
    return _colour(series.style), " ".join(f"{2 * length:g}" for length in _DASHES[series.style]), _SHAPES[series.style]


def _paint(axes: Axes, chart: Chart) -> None:
    _frame(axes, chart)
    for series in chart.series:
        _curve(axes, series)


def _frame(axes: Axes, chart: Chart) -> None:
    known = [_eps(row) for series in chart.series for row in (*series.points, *series.published)]
    axes.set_xlim(-0.02 * max(known), 1.03 * max(known))
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 20))
    axes.grid(visible=True, axis="y", color=_TEXT, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("ε")
    axes.set_ylabel("accuracy, %")


def _curve(axes: Axes, series: Series) -> None:
    line = stroke(series.style)
    colour = line["color"]
    points = [(_eps(row), row.accuracy, row.ci_low, row.ci_high) for row in series.points if row.accuracy is not None]
    eps = [at for at, *_ in points]
    shares = [100 * accuracy for _, accuracy, *_ in points]
    low = [100 * (accuracy if low is None else low) for _, accuracy, low, _ in points]
    high = [100 * (accuracy if high is None else high) for _, accuracy, _, high in points]
    marker = _MARKERS[series.style]
    if points:
        axes.fill_between(eps, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(eps, shares, **line, linewidth=1.8, marker=marker, markersize=4)
    if series.published:
        axes.plot(
            [_eps(row) for row in series.published],
            [100 * (row.published or 0.0) for row in series.published],
            color=colour,
            linestyle="none",
            marker=marker,
            markersize=7.5,
            markerfacecolor="none",
            markeredgewidth=1.2,
        )


def _eps(row: Row) -> float:
    return 0.0 if formatting.is_clean(row) else row.eps


def _colour(style: int) -> str:
    return f"var(--series-{style + 1})"


def _inline(drawing: str, prefix: str) -> str:
    """Returns the SVG element alone: ids made unique, colours handed to the page, no address and no date in it."""
    body = re.sub(r"<metadata>.*?</metadata>", "", drawing[drawing.index("<svg") :], flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', body)
    open_tag = f'<svg {box.group() if box else ""} aria-hidden="true" focusable="false" style="{_JOINED}">'
    # A style element inside the drawing would hold for the whole page around it.
    inner = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body[body.index(">") + 1 :], flags=re.DOTALL)
    text = f"{open_tag}{inner.strip()}"
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-")
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 system-ui, sans-serif", text)
    text = text.replace(_TEXT, "currentColor")
    for style, colour in enumerate(_SERIES):
        text = text.replace(colour, _colour(style))
    return text
