"""Every defence under the same attacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelman import data, defences, models
from steelman.evaluation.running.attempt_runner import AttemptRunner
from steelman.pipeline import Pipeline
from steelman.progress import OnProgress
from steelman.records import WORST, Row
from steelman.studies import all_defences


def measured(
    entrant: all_defences.Entrant,
    images: data.Images,
    progress: OnProgress = lambda now: None,
    folder: Path | None = None,
) -> list[Row]:
    bare = models.load("mnist/cnn")
    return all_defences.rows(entrant, images, bare=bare, seed=0, folder=folder, progress=progress)


@pytest.fixture(scope="module")
def images() -> data.Images:
    return data.load("mnist").test.sample(6, 0)


def test_every_defence_that_ships_and_every_transform_stands_in_it() -> None:
    for dataset in all_defences.RADII:
        names = [(entrant.name, entrant.classifier) for entrant in all_defences.entrants(dataset)]
        assert len(set(names)) == len(names)
        first = [name for name, _ in names]
        own = [name.partition("/")[2] for name in defences.shipped() if name.startswith(f"{dataset}/")]
        assert {"none", *own, *defences.transforms} <= set(first)
        trained = {name.partition("/")[2] for name in models.shipped() if name.startswith(f"{dataset}/")}
        assert {classifier for _, classifier in names} == trained - {"lenet"}


def test_the_rows_of_one_defence(images: data.Images) -> None:
    plain = next(iter(all_defences.entrants("mnist")))
    heard: list[float] = []
    rows = measured(plain, images, lambda now: heard.append(now.done / now.total))
    assert [(row.attack, row.protocol) for row in rows] == [
        ("none", "static"),
        *((name, protocol) for name in ("fgsm", "pgd", "ddn", "square") for protocol in ("static", "adaptive")),
        (WORST, "adaptive"),
    ]
    assert rows[0].accuracy == 1.0
    figures = {(row.attack, row.protocol): row.accuracy for row in rows}
    linf = [figures[name, "adaptive"] for name in ("fgsm", "pgd", "square")]
    assert figures["pgd", "static"] == figures["pgd", "adaptive"] == 0.0
    assert figures[WORST, "adaptive"] is not None
    assert figures[WORST, "adaptive"] <= min(share for share in linf if share is not None)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


def test_what_searches_for_every_image_is_asked_of_fewer_and_says_so(images: data.Images) -> None:
    slow = Pipeline(models.load("mnist/cnn"), name="cnn", defence="defense-gan")
    rows = measured(all_defences.Entrant(slow, heavy=True), images)
    assert {row.n for row in rows} == {3}
    assert all("3 images" in row.note and "five steps" in row.note for row in rows)


def test_a_killed_table_goes_on_where_it_was(
    images: data.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = next(iter(all_defences.entrants("mnist")))
    first = measured(plain, images, folder=tmp_path)
    monkeypatch.setattr(AttemptRunner, "attempt", None)
    assert measured(plain, images, folder=tmp_path) == first
