"""One HTML file from one evaluation: nothing in it points outside."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.errors import InputError
from steelman.files import put_bytes
from steelman.records import Evaluation
from steelman.report import (
    attackers,
    drawing,
    eps_curve,
    feature_maps,
    findings,
    formatting,
    gallery,
    glossary,
    ladder,
    roc,
    side_by_side,
)
from steelman.report.case_sections import blocked, blocks, reruns
from steelman.report.curves import charts
from steelman.report.headline import tally
from steelman.report.static_vs_adaptive import arenas
from steelman.report.tabulation import latencies, tables
from steelman.report.warnings_shown import claims

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
    page = template("page.html.jinja")
    told_by_cases = any(case.curve for case in evaluation.cases)
    drawn = () if told_by_cases else charts(evaluation)
    command, config = reruns(evaluation)
    message = {"command"} | ({"config"} if config else set())
    pictures = side_by_side.others(evaluation)
    others = {name: value for name, value in evaluation.settings.items() if name not in message}
    return page.render(
        evaluation=evaluation,
        style=style("style.css", *(["cases.css"] if evaluation.cases else [])),
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
        side_by_side=evaluation.presentation.side_by_side,
        facings=side_by_side.facings(evaluation),
        walls=gallery.walls(pictures, evaluation.cases),
        plates=feature_maps.plates(evaluation.features),
        noises=feature_maps.noises(evaluation.features),
        hidden=max(0, len(pictures) - gallery.SHOWN),
        latencies=latencies(evaluation),
        protocols=glossary.protocols(evaluation),
        general=glossary.general(evaluation),
        claims=[claim for claim in claims(evaluation) if claim.failures or not evaluation.cases],
        blocks=blocks(evaluation),
        tally=tally(evaluation),
        attackers=attackers,
        blocked=blocked,
        command=command,
        config=config,
        settings=formatting.settings(others),
        eps_curve=eps_curve,
        ladder=ladder,
        formatting=formatting,
    )


def style(*names: str) -> str:
    """Returns the text of these style sheets."""
    return "".join((_HERE / name).read_text(encoding="utf-8") for name in names)


def template(name: str) -> Template:
    """Returns a template of a page, which escapes all that it is given.

    Raises InputError if the extra `report` is not installed.
    """
    for needed in ("matplotlib", "jinja2"):
        try:
            importlib.import_module(needed)
        except ImportError:
            raise InputError(f"expected {needed} for an HTML report, found none: install steelman[report]") from None
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
