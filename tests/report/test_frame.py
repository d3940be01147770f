"""The samples of all cases as a data frame."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest

from steelman.errors import InputError
from steelman.records import Case, Evaluation, Sample

Cases = Callable[..., Case]
Runs = Callable[..., Evaluation]
Samples = Callable[..., list[Sample]]
NAMES = ("dataset", "classifier", "defence", "norm", "eps")


@pytest.fixture
def run(case: Cases, samples: Samples, evaluation: Runs) -> Evaluation:
    return evaluation(cases=(case(samples(7)), case(samples(3, defended=False, proved=False), norm="L2", eps=2.0)))


def test_every_sample_has_a_line_and_its_case(run: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_pandas_reads_it(run: Evaluation, evaluation: Runs) -> None:
    pandas = pytest.importorskip("pandas")
    frame = run.to_frame()
    assert frame.shape == (10, 5 + len(fields(Sample)))
    assert frame["certified"].isna().sum() == 3
    assert frame["kept"].sum() == sum(case.kept for case in run.cases)
    assert isinstance(evaluation().to_frame(), pandas.DataFrame)


def test_a_missing_pandas_is_named(run: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"expected pandas.*install steelman\[frames\]"):
        run.to_frame()
