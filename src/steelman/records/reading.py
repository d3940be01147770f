"""A run folder's files to records again."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from steelman.errors import InputError
from steelman.records.cases import Case, Sample
from steelman.records.detections import Detection
from steelman.records.evaluation import SCHEMA, Evaluation
from steelman.records.pictures import Features, Picture
from steelman.records.presentation import Presentation
from steelman.records.rows import Row

_WRITERS = {1: "up to commit f1ba80d"}
"""What wrote the schemas before."""


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
            raise _other_schema(path, content)
        return Evaluation(
            title=content["title"],
            rows=tuple(map(_row, content["rows"])),
            pictures=_pictures(path.with_name("pictures.npz"), content["pictures"]),
            features=_features(path.with_name("features.npz"), content.get("features", [])),
            detections=build(tuple[Detection, ...], content.get("detections", [])),
            cases=tuple(map(_case, content.get("cases", []))),
            settings=content["settings"],
            versions=content["versions"],
            notes=tuple(content["notes"]),
            seconds=content["seconds"],
            presentation=build(Presentation, content.get("presentation", {})),
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"expected the results of a run in {path}, got a damaged or other file ({error})") from None


def build(kind: Any, value: Any) -> Any:
    """Returns a JSON value as its type hint says: a record from a mapping, a tuple from a list, an enumeration.

    Raises ValueError, KeyError or TypeError for a value of another form.
    """
    arguments = get_args(kind)
    if NoneType in arguments:
        return None if value is None else build(arguments[0], value)
    if get_origin(kind) is tuple:
        each = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(build(one, part) for one, part in zip(each, value, strict=True))
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: build(hints[name], part) for name, part in value.items()})
    return kind(value) if isinstance(kind, type) and issubclass(kind, StrEnum) else value


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _other_schema(path: Path, content: Mapping[str, Any]) -> InputError:
    schema, version = content["schema"], content.get("versions", {}).get("steelman", "of another version")
    writer = " ".join(filter(None, (f"which steelman {version} wrote", _WRITERS.get(schema))))
    return InputError(
        f"expected results of schema {SCHEMA} in {path}, got schema {schema}, {writer}: read them with that one, "
        "or run it again"
    )


def _row(content: dict[str, Any]) -> Row:
    for name in ("eps", "n", "accuracy", "ci_low", "ci_high", "published", "latency_ms"):
        value = content.get(name)
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise ValueError(f"{name} is {value!r}")
    row: Row = build(Row, content)
    return row


def _pictures(path: Path, listed: list[dict[str, Any]]) -> tuple[Picture, ...]:
    if not listed:
        return ()
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(build(Picture, entry | {"images": arrays[f"picture{i}"]}) for i, entry in enumerate(listed))


def _features(path: Path, listed: list[dict[str, Any]]) -> tuple[Features, ...]:
    if not listed:
        return ()
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(
            build(
                Features,
                entry
                | {"images": arrays[f"{i}"]}
                | {"layers": [layer | {"maps": arrays[f"{i}-{j}"]} for j, layer in enumerate(entry["layers"])]},
            )
            for i, entry in enumerate(listed)
        )


def _case(content: dict[str, Any]) -> Case:
    names = [field.name for field in fields(Sample)]
    lines = zip(*(content["samples"][name] for name in names), strict=True)
    samples = [dict(zip(names, line, strict=True)) for line in lines]
    case: Case = build(Case, content | {"samples": samples})
    return case
