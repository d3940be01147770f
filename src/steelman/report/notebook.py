"""An evaluation as a few lines of HTML for a notebook, with styles that hold for nothing else there."""

from __future__ import annotations

import hashlib

from steelman.records import Evaluation
from steelman.report import eps_curve, findings, formatting, ladder
from steelman.report.headline import openings
from steelman.report.model_card import overview
from steelman.report.page import style, template


def to_card(evaluation: Evaluation) -> str:
    """Returns headlines, verdicts, a table and the curves as one HTML element, for the output of a notebook's cell.

    Raises InputError if the extra `report` is not installed.
    """
    page = template("notebook.html.jinja")
    opened = openings(evaluation)
    # Two cards of one notebook must not share the ids of their drawings.
    said = "\n".join([evaluation.title, *(f"{opening.headline} {opening.case.curve}" for opening in opened)])
    key = hashlib.sha256(said.encode("utf-8", errors="replace")).hexdigest()[:8]
    return page.render(
        evaluation=evaluation,
        style=style("notebook.css"),
        openings=opened,
        curves=[eps_curve.svg(opening.case, f"n{key}-{i}") for i, opening in enumerate(opened)],
        headlines=findings.headlines(evaluation),
        table=overview(opened) if opened else None,
        eps_curve=eps_curve,
        ladder=ladder,
        formatting=formatting,
    )
