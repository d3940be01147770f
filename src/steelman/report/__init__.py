"""Records to tables, curves and one HTML file; knows `steelman.records` only and imports no torch."""

from steelman.report.contact_sheet import attacked, journey, sheet
from steelman.report.headline import summary
from steelman.report.model_card import to_markdown
from steelman.report.notebook import to_card
from steelman.report.page import to_html, write_html
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
