"""Records survive their run folder, and other folders are refused."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from steelman.errors import InputError
from steelman.records import Evaluation, Picture, Row, read

ROW = Row(
    table="2",
    dataset="mnist",
    classifier="cnn",
    defence="unet",
    attack="pgd",
    eps=0.15,
    protocol="static",
    n=1000,
    accuracy=0.98,
    ci_low=0.969,
    ci_high=0.988,
    published=0.9406,
)
PICTURE = Picture(
    dataset="mnist",
    classifier="cnn",
    defence="unet",
    attack="pgd",
    eps=0.15,
    protocol="static",
    index=7,
    label="9",
    images=np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4, 1),
    readings=(("9", 0.99), ("4", 0.8), ("9", 0.7)),
)
WHOLE = Evaluation(
    title="t",
    rows=(ROW,),
    pictures=(PICTURE,),
    settings={"seed": 0},
    versions={"torch": "2"},
    notes=("n",),
    seconds=1.5,
)


def test_an_evaluation_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    WHOLE.write(tmp_path / "run")
    back = read(tmp_path / "run")
    assert back.rows == WHOLE.rows
    assert (back.title, back.settings, back.versions, back.notes) == ("t", {"seed": 0}, {"torch": "2"}, ("n",))
    assert np.array_equal(back.pictures[0].images, PICTURE.images)
    assert back.pictures[0].readings == PICTURE.readings
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["pictures.npz", "results.json"]


def test_results_json_has_the_promised_fields(tmp_path: Path) -> None:
    WHOLE.write(tmp_path)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["schema"] == 2
    assert set(content["rows"][0]) == {field.name for field in fields(Row)}
    assert content["rows"][0]["ci_low"] == 0.969


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a run folder"),
        ("{", "got a damaged or other file"),
        ('{"rows": []}', "got a damaged or other file"),
        (
            '{"schema": 1, "versions": {"steelman": "0.1.0"}}',
            "got schema 1, which steelman 0.1.0 wrote up to commit",
        ),
        ('{"schema": 99, "rows": []}', "expected results of schema 2"),
        ('{"schema": 2, "rows": [{"table": "2"}]}', "got a damaged or other file"),
        ("[]", "got a damaged or other file"),
    ],
)
def test_another_folder_is_one_clear_error(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_missing_pictures_are_one_clear_error(tmp_path: Path) -> None:
    WHOLE.write(tmp_path)
    (tmp_path / "pictures.npz").unlink()
    with pytest.raises(InputError, match="got a damaged or other file"):
        read(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="expected to write"):
        WHOLE.write(tmp_path / "file" / "run")
