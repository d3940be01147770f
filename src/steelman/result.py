"""What a user is handed: the records of a run, which also write their report, their table and their frame."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from steelman import records, report
from steelman.errors import InputError
from steelman.records import Evaluation, Sample

P = ParamSpec("P")
_NAMES = ("dataset", "classifier", "defence", "norm", "eps")


@dataclass(frozen=True, kw_only=True, repr=False)
class EvaluationResult(Evaluation):
    """All that one run measured, with what shows it."""

    def save(self, path: Path | str) -> None:
        """Writes the report as one HTML file that opens offline.

        Raises InputError if it cannot be written, or if the extra `report` is not installed.
        """
        report.write_html(self, path)

    def to_markdown(self) -> str:
        """Returns headlines with their verdicts, the tables and how to repeat the run, for a model card."""
        return report.to_markdown(self)

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame with a line for each sample of each case, and its case in the first columns.

        What is not known (`static` without a defence, `certified` where nobody tried, `distance`) is missing there.
        Raises InputError if pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise InputError("expected pandas for a frame, found none: install steelman[frames]") from None
        samples = [(case, sample) for case in self.cases for sample in case.samples]
        columns: dict[str, Any] = {name: [getattr(case, name) for case, _ in samples] for name in _NAMES}
        columns |= {f.name: [getattr(sample, f.name) for _, sample in samples] for f in fields(Sample)}
        for name in ("static", "certified"):
            columns[name] = pandas.array(columns[name], dtype="boolean")
        columns["distance"] = pandas.array(columns["distance"], dtype="Float64")
        return pandas.DataFrame(columns)

    def _repr_html_(self) -> str | None:
        """What a notebook shows; nothing of its own where the extra `report` is not installed."""
        try:
            return report.to_card(self)
        except InputError:
            return None


def presented(measure: Callable[P, Evaluation]) -> Callable[P, EvaluationResult]:
    """Returns a function that measures, or reads, the same and hands out a result that shows itself."""

    @wraps(measure)
    def result(*args: P.args, **kwargs: P.kwargs) -> EvaluationResult:
        found = measure(*args, **kwargs)
        return EvaluationResult(**{field.name: getattr(found, field.name) for field in fields(found)})

    return result


read = presented(records.read)
