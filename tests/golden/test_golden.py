"""What the evaluations on record come to now is what they came to when they were written."""

from __future__ import annotations

import copy

import pytest
import torch

from .comparing import RECORDS, SIZES, Tables, differences, kind, read
from .scenes import played, scenes

each = pytest.mark.parametrize("scene", scenes)


def compare(scene: str, size: str) -> None:
    """Fails where a scene differs from its record."""
    record = read(scene)
    same = record["cpu"] == kind()
    said = differences(record[size], played(scene, SIZES[size]), exactly=same)
    where = "this kind of CPU" if same else f"another kind of CPU ({record['cpu']['model']}), so verdicts alone count"
    lines = [
        f"{scene} of {SIZES[size]} images, written on {where}, with torch {record['torch']} at {record['commit'][:12]};"
        f" now torch {torch.__version__}:",
        *said,
    ]
    assert not said, "\n".join(lines)


@each
def test_ten_images_are_as_they_were(scene: str) -> None:
    compare(scene, "ten")


@pytest.mark.slow
@each
def test_a_hundred_images_are_as_they_were(scene: str) -> None:
    compare(scene, "hundred")


@each
def test_a_record_holds_every_sample(scene: str) -> None:
    record = read(scene)
    assert record["threads"] == 1
    assert len(record["commit"]) == 40
    for size, n in SIZES.items():
        samples = [table["index"] for table in record[size].values() if "index" in table]
        assert samples
        assert all(len(set(index)) == n for index in samples)


def test_every_record_has_its_scene() -> None:
    assert {path.stem for path in RECORDS.glob("*.json")} == set(scenes)


@pytest.fixture
def tables() -> Tables:
    """Those of ten images of the plain classifier."""
    return read("plain")["ten"]


@pytest.mark.parametrize("exactly", [True, False])
def test_a_changed_verdict_is_seen_everywhere(tables: Tables, exactly: bool) -> None:
    now = copy.deepcopy(tables)
    title, table = next(iter(now.items()))
    table["kept"][3] = not table["kept"][3]
    (line,) = differences(tables, now, exactly=exactly)
    assert line.startswith(f"{title}, kept: {table['index'][3]} (")
    del now[title]
    assert differences(tables, now, exactly=exactly)


def test_a_margin_that_is_off_is_seen_on_the_same_kind_of_cpu(tables: Tables) -> None:
    title = next(iter(tables))
    for off, seen in ((2e-4, True), (-2e-4, True), (5e-5, False), (float("inf"), True), (float("nan"), True)):
        now = copy.deepcopy(tables)
        now[title]["margin"][0] += off
        assert bool(differences(tables, now, exactly=True)) is seen
        assert not differences(tables, now, exactly=False)


def test_a_cost_that_is_off_by_one_is_seen_on_the_same_kind_of_cpu(tables: Tables) -> None:
    now = copy.deepcopy(tables)
    title = next(iter(now))
    now[title]["backwards"][0] += 1
    assert len(differences(tables, now, exactly=True)) == 1
    assert not differences(tables, now, exactly=False)


def test_infinity_is_itself() -> None:
    far: Tables = {"a": {"distance": [float("inf"), 1.0]}}
    assert not differences(far, {"a": {"distance": [float("inf"), 1.0]}}, exactly=True)
    assert differences(far, {"a": {"distance": [1.0, float("inf")]}}, exactly=True)
    assert differences(far, {"a": {"distance": [float("-inf"), 1.0]}}, exactly=True)
    assert differences(far, {"a": {"distance": [None, 1.0]}}, exactly=True)
