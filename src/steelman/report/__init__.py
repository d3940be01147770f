"""Records to tables, curves and one HTML file; knows `steelman.evaluation.records` only and imports no torch."""

from steelman.report.page import to_html, write_html
from steelman.report.sheet import attacked, journey, sheet
from steelman.report.table import Table
from steelman.report.tabulation import tables, to_markdown

__all__ = ["Table", "attacked", "journey", "sheet", "tables", "to_html", "to_markdown", "write_html"]
