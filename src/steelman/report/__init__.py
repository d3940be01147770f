"""Records to tables, curves and one HTML file; knows `steelman.evaluation.records` only and imports no torch."""

from steelman.report.model_card import to_markdown
from steelman.report.notebook import to_card
from steelman.report.opening import summary
from steelman.report.page import to_html, write_html
from steelman.report.sheet import attacked, journey, sheet
from steelman.report.table import Table
from steelman.report.tabulation import tables

__all__ = [
    "Table",
    "attacked",
    "journey",
    "sheet",
    "summary",
    "tables",
    "to_card",
    "to_html",
    "to_markdown",
    "write_html",
]
