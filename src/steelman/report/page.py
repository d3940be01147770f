"""One HTML file from one evaluation: nothing in it points outside."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.errors import InputError
from steelman.evaluation.records import Evaluation
from steelman.files import put_bytes
from steelman.report import drawing, feature_maps, findings, gallery, meaning, roc, wording
from steelman.report.checks import checks
from steelman.report.curves import charts
from steelman.report.duels import arenas
from steelman.report.tabulation import latencies, tables

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent


def write_html(evaluation: Evaluation, path: Path | str) -> None:
    """Writes the report as one HTML file, whole or not at all.

    Raises InputError if it cannot be written, or if the extra `report` is not installed.
    """
    put_bytes(Path(path), to_html(evaluation).encode("utf-8", errors="replace"))


def to_html(evaluation: Evaluation) -> str:
    """Returns the report as HTML that opens offline; the same evaluation gives the same text.

    Raises InputError if the extra `report` is not installed.
    """
    template = _template()
    drawn = charts(evaluation)
    return template.render(
        evaluation=evaluation,
        style=(_HERE / "style.css").read_text(encoding="utf-8"),
        headlines=findings.headlines(evaluation),
        collapses=findings.collapses(evaluation),
        unmeasured=findings.unmeasured(evaluation),
        leaks=findings.leaks(evaluation),
        arenas=arenas(evaluation),
        tables=tables(evaluation),
        charts=[(chart, drawing.svg(chart, f"c{i}")) for i, chart in enumerate(drawn)],
        rocs=[(panel, roc.svg(panel, f"r{i}")) for i, panel in enumerate(roc.panels(evaluation.detections))],
        printed=any(series.published for chart in drawn for series in chart.series),
        swatch=drawing.swatch,
        walls=gallery.walls(evaluation.pictures),
        plates=feature_maps.plates(evaluation.features),
        noises=feature_maps.noises(evaluation.features),
        hidden=max(0, len(evaluation.pictures) - gallery.SHOWN),
        latencies=latencies(evaluation),
        protocols=meaning.protocols(row.protocol for row in evaluation.rows),
        general=meaning.GENERAL,
        checks=checks(evaluation),
        command=evaluation.settings.get("command"),
        settings=wording.settings({k: v for k, v in evaluation.settings.items() if k != "command"}),
        wording=wording,
    )


def _template() -> Template:
    for name in ("matplotlib", "jinja2"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(f"expected {name} for an HTML report, found none: install steelman[report]") from None
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja")
