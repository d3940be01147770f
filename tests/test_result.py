"""What a user is handed: records that write their report, their card and their frame."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import steelman
from steelman import report
from steelman.errors import InputError
from steelman.records import Case, CertifiedInterval, Evaluation, Sample, Trust, Verdict
from steelman.result import EvaluationResult, presented

NAMES = ("dataset", "classifier", "defence", "norm", "eps")


def case(n: int, norm: str, known: bool | None) -> Case:
    """Of n samples, all but one kept; known: what is said of static and certified."""
    samples = tuple(
        Sample(index=i, label="7", clean=True, static=known, kept=i > 0, certified=known, by="" if i else "pgd",
               margin=-1.0 if i else 1.0, distance=None if i else 0.1, forwards=2, backwards=1, seed=0)
        for i in range(n)
    )  # fmt: skip
    counts: dict[str, Any] = {"n": n, "clean": n, "static": None, "kept": n - 1, "ci_low": 0.0, "ci_high": 1.0}
    return Case(
        dataset="mnist", classifier="cnn", defence="none", norm=norm, eps=0.3, **counts, spent=n, full=n,
        verdict=Verdict(word=Trust.TRUSTED), curve=None, checks=(),
        certified_interval=CertifiedInterval(certified=None, attacked=n - 1),
        breakers=(), stages=(), samples=samples,
    )  # fmt: skip


@pytest.fixture
def plain() -> Evaluation:
    cases = (case(7, "Linf", True), case(3, "L2", None))
    return Evaluation(title="A run", rows=(), cases=cases, settings={}, versions={})


@pytest.fixture
def run(plain: Evaluation) -> EvaluationResult:
    return presented(lambda: plain)()


def test_a_result_holds_the_records_and_shows_them(plain: Evaluation, run: EvaluationResult, tmp_path: Path) -> None:
    assert all(getattr(run, field.name) == getattr(plain, field.name) for field in fields(plain))
    assert run.to_markdown() == report.to_markdown(plain)
    assert run._repr_html_() == report.to_card(plain)
    run.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report.to_html(plain)


def test_what_a_run_folder_holds_is_read_as_a_result(run: EvaluationResult, tmp_path: Path) -> None:
    run.write(tmp_path)
    assert steelman.read(tmp_path) == run


def test_without_the_extra_a_notebook_falls_back_to_one_line(
    run: EvaluationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert run._repr_html_() is None
    assert repr(run).startswith("<EvaluationResult 'A run', rows: 0, cases: 2, Linf 0.3 ")


def test_every_sample_has_a_line_and_its_case(run: EvaluationResult, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = ModuleType("pandas")
    asked: list[str] = []

    def array(values: list[Any], dtype: str) -> list[Any]:
        asked.append(dtype)
        return values

    pandas.DataFrame = dict  # type: ignore[attr-defined]
    pandas.array = array  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    frame = run.to_frame()
    assert list(frame) == [*NAMES, *(field.name for field in fields(Sample))]
    assert {len(column) for column in frame.values()} == {10}
    assert frame["norm"] == ["Linf"] * 7 + ["L2"] * 3
    assert frame["index"] == [*range(7), *range(3)]
    assert frame["static"][7:] == [None] * 3
    assert asked == ["boolean", "boolean", "Float64"]


def test_pandas_reads_it(run: EvaluationResult) -> None:
    pandas = pytest.importorskip("pandas")
    frame = run.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.shape == (10, 5 + len(fields(Sample)))
    assert frame["certified"].isna().sum() == 3
    assert frame["kept"].sum() == 8


def test_a_missing_pandas_is_named(run: EvaluationResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"expected pandas.*install steelman\[frames\]"):
        run.to_frame()
