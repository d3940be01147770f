"""All that one run measured, and the files that hold it.

A run folder holds `results.json` and, where there are pictures, `pictures.npz` and `features.npz`.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from steelman.errors import InputError
from steelman.files import put_bytes
from steelman.records.cases import Bracket, Breaker, Case, Check, Curve, Sample, Stage, Verdict
from steelman.records.detections import Detection
from steelman.records.pictures import Features, Layer, Picture
from steelman.records.rows import Row

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that one run measured.

    title: what it is.  settings: what was asked for, as JSON values.  versions: of what it ran on.
    notes: sentences that a reader needs to understand the numbers.  seconds: how long it took.
    """

    title: str
    rows: tuple[Row, ...]
    pictures: tuple[Picture, ...] = ()
    features: tuple[Features, ...] = ()
    detections: tuple[Detection, ...] = ()
    cases: tuple[Case, ...] = ()
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def write(self, folder: Path | str) -> None:
        """Writes results.json, pictures.npz and features.npz into a run folder, each whole or not at all.

        Raises InputError if the folder cannot be written.
        """
        folder = Path(folder)
        if self.pictures:
            arrays: dict[str, Any] = {f"picture{i}": picture.images for i, picture in enumerate(self.pictures)}
            content = BytesIO()
            np.savez_compressed(content, **arrays)
            put_bytes(folder / "pictures.npz", content.getvalue())
        if self.features:
            content = BytesIO()
            np.savez_compressed(content, **_arrays(self.features))
            put_bytes(folder / "features.npz", content.getvalue())
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False)
        put_bytes(folder / "results.json", (text + "\n").encode())

    def as_json(self) -> dict[str, Any]:
        """Returns the content of results.json."""
        return {
            "schema": SCHEMA,
            "title": self.title,
            "rows": [asdict(row) for row in self.rows],
            "pictures": [
                {field.name: getattr(picture, field.name) for field in fields(Picture) if field.name != "images"}
                for picture in self.pictures
            ],
            **({"features": [_without_arrays(one) for one in self.features]} if self.features else {}),
            **({"detections": [asdict(one) for one in self.detections]} if self.detections else {}),
            **({"cases": [_plain(case) for case in self.cases]} if self.cases else {}),
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
        }

    def __repr__(self) -> str:
        """A line: ten thousand samples would drown a terminal."""
        verdicts = "".join(f", {case.norm} {case.eps:g} {case.verdict.word}" for case in self.cases)
        return f"<{type(self).__name__} {self.title!r}, rows: {len(self.rows)}, cases: {len(self.cases)}{verdicts}>"


def read(folder: Path | str) -> Evaluation:
    """Returns the evaluation that a run folder holds.

    Raises InputError if there is none, or one of another schema.
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        raise InputError(f"expected a run folder with results.json, found none in {folder}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise InputError(f"expected results of schema {SCHEMA} in {path}, got {content['schema']}: run it again")
        rows = tuple(_row(row) for row in content["rows"])
        pictures = _pictures(path.with_name("pictures.npz"), content.get("pictures", []))
        features = _features(path.with_name("features.npz"), content.get("features", []))
        return Evaluation(
            title=content["title"],
            rows=rows,
            pictures=pictures,
            features=features,
            detections=tuple(_detection(one) for one in content.get("detections", [])),
            cases=tuple(_case(one) for one in content.get("cases", [])),
            settings=content["settings"],
            versions=content["versions"],
            notes=tuple(content["notes"]),
            seconds=content["seconds"],
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"expected the results of a run in {path}, got a damaged or other file ({error})") from None


def _row(content: dict[str, Any]) -> Row:
    for name in ("eps", "n", "accuracy", "ci_low", "ci_high", "published", "latency_ms"):
        value = content.get(name)
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise ValueError(f"{name} is {value!r}")
    return Row(**content)


def _detection(content: dict[str, Any]) -> Detection:
    return Detection(**{**content, "curve": tuple((float(false), float(true)) for false, true in content["curve"])})


def _pictures(path: Path, listed: list[dict[str, Any]]) -> tuple[Picture, ...]:
    if not listed:
        return ()
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(
            Picture(**{**entry, "readings": tuple(tuple(r) for r in entry["readings"])}, images=arrays[f"picture{i}"])
            for i, entry in enumerate(listed)
        )


def _arrays(features: tuple[Features, ...]) -> dict[str, Any]:
    arrays: dict[str, Any] = {f"{i}": one.images for i, one in enumerate(features)}
    return arrays | {f"{i}-{j}": layer.maps for i, one in enumerate(features) for j, layer in enumerate(one.layers)}


def _without_arrays(features: Features) -> dict[str, Any]:
    plain = asdict(features)
    del plain["images"]
    for layer in plain["layers"]:
        del layer["maps"]
    return plain


def _features(path: Path, listed: list[dict[str, Any]]) -> tuple[Features, ...]:
    if not listed:
        return ()
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(_one_of_features(arrays, i, entry) for i, entry in enumerate(listed))


def _one_of_features(arrays: Mapping[str, Any], i: int, entry: dict[str, Any]) -> Features:
    layers = tuple(
        Layer(**{**layer, "channels": tuple(layer["channels"])}, maps=arrays[f"{i}-{j}"])
        for j, layer in enumerate(entry["layers"])
    )
    readings = tuple(tuple(tuple(read) for read in pair) for pair in entry["readings"])
    plain = {**entry, "indices": tuple(entry["indices"]), "labels": tuple(entry["labels"]), "readings": readings}
    return Features(**{**plain, "layers": layers}, images=arrays[f"{i}"])


def _plain(case: Case) -> dict[str, Any]:
    """A case as JSON values, its samples in columns, which is a third of the text."""
    plain = asdict(case)
    plain["samples"] = {
        field.name: [getattr(sample, field.name) for sample in case.samples] for field in fields(Sample)
    }
    return plain


def _case(content: dict[str, Any]) -> Case:
    columns = content["samples"]
    lines = zip(*(columns[field.name] for field in fields(Sample)), strict=True)
    names = [field.name for field in fields(Sample)]
    curve = content["curve"]
    return Case(
        **{
            **content,
            "verdict": Verdict(word=content["verdict"]["word"], reasons=tuple(content["verdict"]["reasons"])),
            "bracket": Bracket(
                **{**content["bracket"], "methods": tuple((name, n) for name, n in content["bracket"]["methods"])}
            ),
            "curve": curve and Curve(**{**curve, "points": tuple(tuple(point) for point in curve["points"])}),
            "checks": tuple(Check(**one) for one in content["checks"]),
            "breakers": tuple(
                Breaker(**{**one, "parts": tuple((name, n) for name, n in one["parts"])}) for one in content["breakers"]
            ),
            "stages": tuple(Stage(**one) for one in content["stages"]),
            "samples": tuple(Sample(**dict(zip(names, line, strict=True))) for line in lines),
        }
    )
