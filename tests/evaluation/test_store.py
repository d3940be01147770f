"""The journal: a piece is there wholly or not at all, and what is no journal of this run is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import torch

from steelman.errors import InputError
from steelman.evaluation.storing.journal import Outcome, Step, StepKind
from steelman.evaluation.storing.store import FILE, SHARDS, Store

STEP = Step(0, "adaptive/pgd/the whole pipeline", "pgd", "the whole pipeline", StepKind.ADAPTIVE)
LINES = [
    Outcome(7, True, None, 0.5, 0.1, 3, 2, 0, "pgd", 0),
    Outcome(3, False, None, -0.5, 0.1, 9, 9, 0, "", None),
]


def filled(folder: Path | None) -> Store:
    store = Store(folder, {"seed": 0}, {"command": "steelman evaluate"})
    store.list_images([7, 3], ["cat", "dog"], ["c", "d"])
    store.declare(STEP)
    store.put(STEP, 0, LINES, torch.full((1, 1, 2, 2), 0.25), 1.5)
    return store


@pytest.mark.parametrize("there", [True, False], ids=["folder", "memory"])
def test_what_is_put_is_there(there: bool, tmp_path: Path) -> None:
    with filled(tmp_path if there else None) as store:
        assert store.has(STEP, 0)
        assert not store.has(STEP, 1)
        assert list(store.outcomes(STEP)) == sorted(LINES)
        assert list(store.outcomes(STEP, 1)) == []
        assert store.images() == {3: "dog", 7: "cat"}
        assert store.steps(0) == [STEP]
        assert store.seconds(STEP) == 1.5
        assert torch.equal(store.image(STEP, 7), torch.full((1, 2, 2), 0.25))
        assert store.image(STEP, 3) is None
        assert store.about() == {"seed": 0, "command": "steelman evaluate"}
        assert (tmp_path / SHARDS).exists() is there


def test_a_piece_is_put_once_and_wholly(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        with pytest.raises(InputError, match="SQLite says"):
            store.put(STEP, 1, [Outcome(9, True, None, 0.5, 0.1, 3, 2, 0, "pgd"), LINES[0]])
        assert [outcome.number for outcome in store.outcomes(STEP)] == [3, 7]
        assert not store.has(STEP, 1)


def test_infinite_margins_come_back(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        store.put(STEP, 1, [Outcome(1, False, None, float("-inf"), float("inf"), 0, 0, 0, "")])
        (line,) = store.outcomes(STEP, 1)
        assert (line.margin, line.distance) == (float("-inf"), float("inf"))


def test_a_store_that_is_closed_goes_on(tmp_path: Path) -> None:
    filled(tmp_path).__exit__()
    with Store(tmp_path, {"seed": 0}) as store:
        assert store.has(STEP, 0)
        assert store.about()["command"] == "steelman evaluate"


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    with filled(tmp_path), pytest.raises(InputError, match="another process writes to it"):
        Store(tmp_path, {"seed": 0})
    Store(tmp_path, {"seed": 0}).__exit__()


def test_another_run_is_refused_and_fresh_begins_again(tmp_path: Path) -> None:
    filled(tmp_path).__exit__()
    with pytest.raises(InputError, match=r"got another seed \(1, there 0\): choose another --out"):
        Store(tmp_path, {"seed": 1})
    with Store(tmp_path, {"seed": 1}, fresh=True) as store:
        assert not store.has(STEP, 0)
        assert list((tmp_path / SHARDS).iterdir()) == []


def test_a_store_of_another_version_says_so(tmp_path: Path) -> None:
    filled(tmp_path).__exit__()
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("pragma user_version = 9")
    db.commit()
    db.close()
    for open_ in (lambda: Store(tmp_path, {"seed": 0}), lambda: Store.read(tmp_path)):
        with pytest.raises(
            InputError, match=r"expected a run of schema 2 .*, got schema 9, which steelman of another version wrote"
        ):
            open_()


def test_a_damaged_store_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to look at" * 100)
    for open_ in (lambda: Store(tmp_path, {"seed": 0}), lambda: Store.read(tmp_path)):
        with pytest.raises(InputError, match="damaged or other file"):
            open_()


def test_a_file_that_was_only_begun_is_a_new_run(tmp_path: Path) -> None:
    """Killed between making the file and its tables."""
    (tmp_path / FILE).touch()
    with Store(tmp_path, {"seed": 0}) as store:
        assert not store.has(STEP, 0)


def test_no_folder_to_write_to_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"expected a folder that can be written"):
        Store(tmp_path / "file", {"seed": 0})
    with pytest.raises(InputError, match=r"expected a run folder with run\.sqlite"):
        Store.read(tmp_path / "nowhere")


def test_a_full_disk_keeps_what_was_done(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        store._db.execute(f"pragma max_page_count = {store._db.execute('pragma page_count').fetchone()[0]}")
        many = [Outcome(100 + i, False, None, 0.0, 0.0, 0, 0, 0, "x" * 100) for i in range(2000)]
        with pytest.raises(InputError, match=r"expected room on the disk .*: what was finished is kept"):
            store.put(STEP, 1, many)
    with Store(tmp_path, {"seed": 0}) as store:
        assert store.has(STEP, 0)
        assert not store.has(STEP, 1)


def test_lost_images_are_one_clear_error(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        for shard in (tmp_path / SHARDS).iterdir():
            shard.unlink()
        with pytest.raises(InputError, match="expected the adversarial images of this run"):
            store.image(STEP, 7)
