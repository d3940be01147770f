"""Samples by class, the class that is least robust first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from steelman.records import Case, Evaluation, Sample
from steelman.report.case_sections import blocks
from steelman.report.classes import SHOWN, classes, ranked

Cases = Callable[..., Case]
Runs = Callable[..., Evaluation]
Samples = Callable[..., list[Sample]]


def share(samples: list[Sample], name: str) -> str:
    return f"{100 * sum(getattr(sample, name) for sample in samples) / len(samples):.1f}"


def test_every_class_has_its_shares_and_the_worst_stands_first(case: Cases, samples: Samples) -> None:
    known = samples(300)
    table = classes(case(known))
    assert table is not None
    assert table.headers == ("Class", "Images", "Clean", "Static", "Robust", "Certified")
    for line in table.rows:
        own = [sample for sample in known if sample.label == line[0]]
        assert line[1:] == (str(len(own)), *(share(own, name) for name in ("clean", "static", "kept", "certified")))
    kept = [float(line[4]) for line in table.rows]
    assert kept == sorted(kept)
    assert len(table.rows) == 10
    assert ranked(table)
    assert f"Of the least robust class, {table.rows[0][0]}," in table.caption


def test_columns_that_nobody_measured_are_left_out(case: Cases, samples: Samples) -> None:
    table = classes(case(samples(30, defended=False, proved=False)))
    assert table is not None
    assert table.headers == ("Class", "Images", "Clean", "Robust")
    assert classes(replace(case(), samples=())) is None


def test_equal_classes_stand_in_the_order_of_their_numbers(case: Cases, samples: Samples) -> None:
    known = [replace(sample, clean=True, kept=True) for sample in samples(44, labels=11)]
    table = classes(case(known))
    assert table is not None
    assert [line[0] for line in table.rows] == [str(i) for i in range(11)]
    assert "Of the least" not in table.caption
    assert not ranked(table)
    long = [replace(sample, label="9" * 5000) for sample in known]
    assert classes(case(long)) is not None


def test_many_classes_are_folded_and_none_is_lost(case: Cases, samples: Samples, evaluation: Runs) -> None:
    (block,) = blocks(evaluation(cases=(case(samples(400, labels=100)),)))
    assert block.worst is not None
    assert block.others is not None
    assert len(block.worst.rows) == SHOWN - 2
    assert len({line[0] for line in (*block.worst.rows, *block.others.rows)}) == 100
    assert block.others.title == "The other 90 classes"
    (few,) = blocks(evaluation(cases=(case(samples(200, labels=SHOWN)),)))
    assert few.others is None
