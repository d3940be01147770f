"""The run store: what became of every image, journaled as it is found, in one SQLite file of the run folder.

A piece of work is one attempt on one chunk of images. It is written in one transaction, after its adversarial images,
so that a run that is killed at any moment has done each piece wholly or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from safetensors.torch import load, save
from torch import Tensor

from steelman.errors import InputError
from steelman.evaluation.storing.identity import same
from steelman.evaluation.storing.journal import SCHEMA, TABLES, WRITERS, Outcome, Step, StepKind
from steelman.files import put_bytes

FILE = "run.sqlite"
SHARDS = "adversarial"


class Store:
    """The journal of one run; in memory alone where there is no folder.

    about: JSON values that decide the results; a folder that holds a run of other values is refused.
    more: JSON values that do not, as the command that began it.
    fresh: begin again whatever the folder holds.
    Raises InputError for a folder that cannot be written, that another process writes to, that holds a damaged store,
    one of another version, or another run.
    """

    def __init__(
        self,
        folder: Path | None,
        about: Mapping[str, Any],
        more: Mapping[str, Any] | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        self.folder = folder
        self._lock = _locked(folder) if folder is not None else None
        self._shards: dict[str, Tensor] = {}
        if folder is not None and fresh:
            _clear(folder)
        self._db = _connect(folder)
        try:
            self.resumed = self._opened(about, more or {})
        except InputError:
            self.__exit__()
            raise

    def _opened(self, about: Mapping[str, Any], more: Mapping[str, Any]) -> bool:
        """Begins a run, or finds that the same one is begun already."""
        with self._guarded():
            (tables,) = self._db.execute("select count(*) from sqlite_master").fetchone()
            if not tables:
                with self._db:
                    self._db.executescript(f"begin; {TABLES} pragma user_version = {SCHEMA}; commit;")
            _check_version(self._db, self.folder)
        known, own = self.about(), {key: _plain(value) for key, value in about.items()}
        if known:
            _check_same(known, own, self.folder)
        else:
            self._tell(own | {key: _plain(value) for key, value in more.items()})
        return bool(known)

    @classmethod
    def read(cls, folder: Path | str) -> Self:
        """Returns the store of a run folder, to be read alone.

        Raises InputError where there is none, or one that is damaged or of another version.
        """
        folder = Path(folder)
        if not (folder / FILE).is_file():
            raise InputError(f"expected a run folder with {FILE}, as evaluate writes, found none in {folder}")
        store = cls.__new__(cls)
        store.folder, store._lock, store._shards, store.resumed = folder, None, {}, True
        store._db = _connect(folder, readonly=True)
        with store._guarded():
            _check_version(store._db, folder)
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)

    def about(self) -> dict[str, Any]:
        """Returns what the run was asked for, and how it began and ended."""
        with self._guarded():
            return {key: json.loads(value) for key, value in self._db.execute("select key, value from about")}

    def tell(self, **values: Any) -> None:
        """Writes more values about the run."""
        self._tell({key: _plain(value) for key, value in values.items()})

    def list_images(self, numbers: Sequence[int], labels: Sequence[str], digests: Sequence[str]) -> None:
        """Writes which images the run is about, by their places in the data set, their classes and their digests."""
        rows = zip(numbers, labels, digests, strict=True)
        with self._guarded(), self._db:
            self._db.executemany("insert or ignore into images values (?, ?, ?)", rows)

    def images(self) -> dict[int, str]:
        """Returns the class of each image by its place in the data set."""
        with self._guarded():
            return dict(self._db.execute("select number, label from images order by number"))

    def digests(self) -> dict[int, str]:
        """Returns the digest of each image by its place in the data set."""
        with self._guarded():
            return dict(self._db.execute("select number, digest from images order by number"))

    def declare(self, step: Step) -> None:
        """Writes that an attempt belongs to the run, in the order in which attempts are declared."""
        with self._guarded(), self._db:
            (position,) = self._db.execute("select count(*) from steps").fetchone()
            row = (step.threat, step.step, position, step.attack, step.through, step.kind)
            self._db.execute("insert or ignore into steps values (?, ?, ?, ?, ?, ?)", row)

    def steps(self, threat: int) -> list[Step]:
        """Returns the attempts under a threat, in their order."""
        query = "select threat, step, attack, through, kind from steps where threat = ? order by position"
        with self._guarded():
            return [Step(*row)._replace(kind=StepKind(row[-1])) for row in self._db.execute(query, (threat,))]

    def has(self, step: Step, chunk: int) -> bool:
        """Returns whether a piece of work is done."""
        query = "select 1 from pieces where threat = ? and step = ? and chunk = ?"
        with self._guarded():
            return self._db.execute(query, (step.threat, step.step, chunk)).fetchone() is not None

    def put(
        self, step: Step, chunk: int, outcomes: Sequence[Outcome], images: Tensor | None = None, seconds: float = 0.0
    ) -> None:
        """Writes a piece of work: its images first, then all its outcomes at once.

        images: (M, *S), those that an outcome's row names.
        """
        if images is not None and len(images):
            self._keep(step, chunk, images)
        rows = [(step.threat, step.step, *outcome, chunk) for outcome in outcomes]
        with self._guarded(), self._db:
            self._db.executemany("insert into outcomes values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("insert into pieces values (?, ?, ?, ?)", (step.threat, step.step, chunk, seconds))

    def outcomes(self, step: Step, chunk: int | None = None) -> Iterator[Outcome]:
        """Yields what an attempt made of each image, by its place in the data set; of one chunk, or of all."""
        query = (
            "select number, broken, bare, margin, distance, forwards, backwards, seed, by, row, once from outcomes "
            "where threat = ? and step = ?" + (" and chunk = ?" if chunk is not None else "") + " order by number"
        )
        with self._guarded():
            rows = self._db.execute(query, (step.threat, step.step, *([chunk] if chunk is not None else []))).fetchall()
        for row in rows:
            line = Outcome(*row)
            yield line._replace(broken=bool(line.broken), bare=_maybe(line.bare), once=_maybe(line.once))

    def seconds(self, step: Step) -> float:
        """Returns how long an attempt took, all its chunks together."""
        query = "select total(seconds) from pieces where threat = ? and step = ?"
        with self._guarded():
            return float(self._db.execute(query, (step.threat, step.step)).fetchone()[0])

    def image(self, step: Step, number: int) -> Tensor | None:
        """Returns the adversarial image, (*S), that an attempt kept of an image, None where it kept none."""
        query = "select chunk, row from outcomes where threat = ? and step = ? and number = ? and row is not null"
        with self._guarded():
            found = self._db.execute(query, (step.threat, step.step, number)).fetchone()
        if found is None:
            return None
        name = _shard(step, found[0])
        if self.folder is None:
            return self._shards[name][found[1]]
        path = self.folder / SHARDS / name
        if not path.is_file():
            raise InputError(f"expected the adversarial images of this run in {path}, found none: run it again")
        return load(path.read_bytes())["images"][found[1]]

    def fact(self, threat: int, name: str) -> Any:
        """Returns a JSON value that was kept, None where there is none."""
        with self._guarded():
            found = self._db.execute("select value from facts where threat = ? and name = ?", (threat, name)).fetchone()
        return None if found is None else json.loads(found[0])

    def keep(self, threat: int, name: str, value: Any) -> None:
        """Writes a JSON value."""
        with self._guarded(), self._db:
            self._db.execute("insert or replace into facts values (?, ?, ?)", (threat, name, json.dumps(value)))

    def _keep(self, step: Step, chunk: int, images: Tensor) -> None:
        name, content = _shard(step, chunk), images.detach().cpu().contiguous()
        if self.folder is None:
            self._shards[name] = content
        else:
            put_bytes(self.folder / SHARDS / name, save({"images": content}))

    def _tell(self, values: Mapping[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        with self._guarded(), self._db:
            self._db.executemany("insert or replace into about values (?, ?)", rows)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turns what SQLite says into one sentence."""
        try:
            yield
        except sqlite3.Error as error:
            where = f"{self.folder}/{FILE}" if self.folder else "memory"
            raise InputError(_message(error, where)) from None


def _maybe(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _shard(step: Step, chunk: int) -> str:
    name = hashlib.blake2b(step.step.encode(), digest_size=6).hexdigest()
    return f"{step.threat}-{name}-{chunk:05d}.safetensors"


def _connect(folder: Path | None, *, readonly: bool = False) -> sqlite3.Connection:
    try:
        if folder is None:
            return sqlite3.connect(":memory:", check_same_thread=False)
        path = (folder / FILE).resolve()
        if readonly:
            return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
        return sqlite3.connect(path, timeout=10, check_same_thread=False)
    except sqlite3.Error as error:
        raise InputError(_message(error, f"{folder}/{FILE}")) from None


def _check_version(db: sqlite3.Connection, folder: Path | None) -> None:
    (found,) = db.execute("pragma user_version").fetchone()
    if found != SCHEMA:
        raise InputError(
            f"expected a run of schema {SCHEMA} in {folder}, got schema {found}, which {_writer(db, found)} wrote: "
            "read it with that one, or begin again with --fresh"
        )


def _writer(db: sqlite3.Connection, schema: int) -> str:
    """Which steelman wrote a store, as far as it says."""
    try:
        (said,) = db.execute("select value from about where key = 'versions'").fetchone()
        version = json.loads(said)["steelman"]
    except (sqlite3.Error, TypeError, KeyError, ValueError):
        version = "of another version"
    return " ".join(filter(None, (f"steelman {version}", WRITERS.get(schema))))


def _check_same(known: Mapping[str, Any], own: Mapping[str, Any], folder: Path | None) -> None:
    other = [key for key in own if not same(own[key], known.get(key))]
    if other:
        key = other[0]
        raise InputError(
            f"expected the run that {folder} holds, got another {key} ({_short(own[key])}, there "
            f"{_short(known.get(key))}): choose another --out, or begin again with --fresh"
        )


def _short(value: Any) -> str:
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value.get("sha256", value) if isinstance(value, dict) else value)
    )
    return text if len(text) <= 60 else f"{text[:57]}…"


def _locked(folder: Path) -> int:
    """Takes the folder for this process until it ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise InputError(
            f"expected a folder that can be written at {folder}, but {error.strerror}: choose another --out"
        ) from None
    try:
        import fcntl
    except ImportError:  # no such locks on this system: SQLite's own still keep the file whole
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InputError(
            f"expected {folder} for this run alone, but another process writes to it: wait for it"
        ) from None
    return handle


def _clear(folder: Path) -> None:
    for path in (folder / FILE, folder / f"{FILE}-journal", *(folder / SHARDS).glob("*.safetensors")):
        path.unlink(missing_ok=True)


def _message(error: sqlite3.Error, where: str) -> str:
    said = str(error)
    if "full" in said:
        return (
            f"expected room on the disk for {where}, found none: what was finished is kept; make room and run it again"
        )
    if "not a database" in said or "malformed" in said or "no such table" in said:
        return f"expected a run store in {where}, got a damaged or other file ({said}): begin again with --fresh"
    if "locked" in said:
        return f"expected {where} for this run alone, but another process writes to it: wait for it"
    return f"expected to read and write {where}, but SQLite says: {said}"
