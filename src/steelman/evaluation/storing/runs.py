"""Run folders afterwards: a list of them, two of them compared image by image, and their samples as a table."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any

from steelman.errors import InputError, unknown
from steelman.evaluation.intervals import mcnemar
from steelman.evaluation.storing.assembly import build_records
from steelman.evaluation.storing.store import FILE, Store
from steelman.files import put_bytes
from steelman.records import Case, Sample

FORMATS = ("csv", "json", "parquet")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One run folder in a line.

    folder: where it is.  began: when.  title: pipeline and data.  finished: whether it came to its end.
    cases: what it found, of a run that is not finished so far.  trouble: why it cannot be read, "" where it can.
    """

    folder: str
    began: str = ""
    title: str = ""
    finished: bool = False
    cases: tuple[Case, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two pipelines on the same images under the same threat.

    n: images of both.  both, first, second, neither: how many survive in which of the two.
    p: of the exact McNemar test, the chance of so uneven a split where neither is better.
    """

    norm: str
    eps: float
    n: int
    both: int
    first: int
    second: int
    neither: int
    p: float


def listed(folder: Path | str) -> list[Summary]:
    """Returns every run below a folder, the last begun first; one that cannot be read with the reason.

    Raises InputError if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"expected a folder of runs, found none at {folder}: say where --out put them")
    found = [_summary(path.parent) for path in sorted(folder.rglob(FILE))]
    return sorted(found, key=lambda one: one.began, reverse=True)


def _summary(folder: Path) -> Summary:
    try:
        with Store.read(folder) as store:
            about = store.about()
            names = about["names"]
            behind = "" if names["defence"] == "none" else f" behind {names['defence']}"
            return Summary(
                folder=str(folder),
                began=about["began"],
                title=f"{names['classifier']}{behind} on {names['dataset']}",
                finished=about.get("finished", False),
                cases=build_records(store)[0] if store.images() else (),
            )
    except InputError as error:
        return Summary(folder=str(folder), trouble=str(error))
    except (KeyError, TypeError, ValueError) as error:
        return Summary(folder=str(folder), trouble=f"expected a run store, got a damaged one ({error!r})")


def cases(folder: Path | str) -> tuple[Case, ...]:
    """Returns what a run found, of one that is not finished so far.

    Raises InputError where there is none, or one that is damaged or of another version.
    """
    found = _summary(Path(folder)) if (Path(folder) / FILE).is_file() else None
    if found is None:
        raise InputError(f"expected a run folder with {FILE}, as evaluate writes, found none in {folder}")
    if found.trouble:
        raise InputError(found.trouble)
    return found.cases


def compared(first: Path | str, second: Path | str) -> tuple[Comparison, ...]:
    """Returns the paired comparison of two runs under every threat that both have, on the images that both have.

    Images are paired by their digests, in which their pixels and their classes stand; those of a digest that several
    have, in their order.
    Raises InputError where they share no threat or no image, and where one place holds two different images.
    Source: McNemar 1947, in its exact form.
    """
    one, other = cases(first), cases(second)
    places = _places(first, second)
    pairs = [(a, b) for a in one for b in other if (a.norm, a.eps) == (b.norm, b.eps)]
    if not pairs:
        said = " and ".join(
            ", ".join(f"{case.norm} {case.eps:g}" for case in them) or "nothing" for them in (one, other)
        )
        raise InputError(f"expected two runs under a threat that both have, got {said}")
    return tuple(_paired(a, b, places) for a, b in pairs)


def _places(first: Path | str, second: Path | str) -> dict[int, int]:
    """Where each image of the first run stands in the second, of those that both have."""
    listed = []
    for folder in (first, second):
        with Store.read(folder) as store:
            listed.append(store.digests())
    one, other = listed
    known = set(other.values())
    wrong = [number for number, digest in one.items() if number in other and digest not in known]
    if wrong:
        raise InputError(
            f"expected two runs on the same images, got different ones at {len(wrong):,} places, the first {wrong[0]}: "
            "evaluate both on one --data"
        )
    there = {key: number for number, key in _counted(other)}
    found = {number: there[key] for number, key in _counted(one) if key in there}
    if not found:
        raise InputError("expected two runs on the same images, got samples that share none: give both one --seed")
    return found


def _counted(digests: Mapping[int, str]) -> Iterator[tuple[int, tuple[str, int]]]:
    """Each place with its digest and the how-manieth image of that digest it is."""
    met: Counter[str] = Counter()
    for number, digest in digests.items():
        yield number, (digest, met[digest])
        met[digest] += 1


def _paired(one: Case, other: Case, places: Mapping[int, int]) -> Comparison:
    kept = {sample.index: sample.kept for sample in other.samples}
    pairs = [(sample.kept, kept[there]) for sample in one.samples if (there := places.get(sample.index, -1)) in kept]
    count = {split: pairs.count(split) for split in ((True, True), (True, False), (False, True), (False, False))}
    return Comparison(
        norm=one.norm,
        eps=one.eps,
        n=len(pairs),
        both=count[True, True],
        first=count[True, False],
        second=count[False, True],
        neither=count[False, False],
        p=mcnemar(count[True, False], count[False, True]),
    )


def exported(folder: Path | str, path: Path | str) -> int:
    """Writes every sample of a run to a file of the kind that its name ends in, and returns how many.

    path: ends in .csv, .json or .parquet.
    Raises InputError for another ending, a run that cannot be read, a file that cannot be written, and for Parquet
    where the extra `frames` is not installed.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise unknown("format", kind or str(path), FORMATS)
    lines = list(_lines(cases(folder)))
    put_bytes(path, {"csv": _csv, "json": _json, "parquet": _parquet}[kind](lines))
    return len(lines)


def _lines(found: Sequence[Case]) -> Iterator[dict[str, Any]]:
    for case in found:
        own = {key: getattr(case, key) for key in ("dataset", "classifier", "defence", "norm", "eps")}
        for sample in case.samples:
            yield own | asdict(sample)


def _names() -> list[str]:
    return ["dataset", "classifier", "defence", "norm", "eps", *(field.name for field in fields(Sample))]


def _csv(lines: list[dict[str, Any]]) -> bytes:
    stream = StringIO()
    writer = csv.DictWriter(stream, _names(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue().encode()


def _json(lines: list[dict[str, Any]]) -> bytes:
    return (json.dumps(lines, ensure_ascii=False) + "\n").encode()


def _parquet(lines: list[dict[str, Any]]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError("expected pyarrow to write Parquet, found none: install steelman[frames]") from None
    columns = {name: [line[name] for line in lines] for name in _names()}
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
