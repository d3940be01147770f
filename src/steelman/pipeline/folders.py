"""A pipeline in a folder: what it is made of in pipeline.json, and the weights of every stage beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from steelman import defences, models, weights
from steelman.defences import detectors
from steelman.defences.rejecting import Gate
from steelman.errors import InputError
from steelman.files import put_bytes
from steelman.pipeline.fingerprint import Fingerprint
from steelman.pipeline.naming import WRAPPERS, Layer, named
from steelman.registry import Registry
from steelman.version import VERSION

FILE = "pipeline.json"
SCHEMA = 1

Role = Literal["purifier", "preprocess", "classifier", "detector", "beside"]
"""A stage, or the purifier that a detector compares with and that does not stand in front."""

_KINDS: Mapping[str, Registry[Callable[..., nn.Module]]] = {
    "purifier": defences.catalogue,
    "beside": defences.catalogue,
    "preprocess": defences.catalogue,
    "classifier": models.catalogue,
    "detector": detectors.catalogue,
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, ser_json_inf_nan="constants")


class Stage(_Strict):
    """How a stage is made again: by a name of its catalogue, or of code, with settings; and its file's SHA-256.

    around: what it stands in, the outermost first, as between two resizings.
    """

    name: str
    settings: dict[str, Any]
    around: list[Layer]
    sha256: str


class Print(_Strict):
    """A fingerprint as JSON values."""

    sha256: str
    answers: list[list[float]]


class Record(_Strict):
    """What stands in pipeline.json."""

    schema_: int = Field(alias="schema")
    steelman: str
    name: str
    defence: str
    classes: list[str]
    input_shape: list[int]
    stages: dict[Role, Stage]
    fingerprint: Print


def write(
    folder: Path, stages: Mapping[str, nn.Module], labels: Mapping[str, str], found: Fingerprint, **about: Any
) -> None:
    """Writes a pipeline's stages and its record.

    labels: what a stage is called, which may name the code that makes it.  about: name, defence, classes, input_shape.
    Raises InputError for a stage that no name makes again, and if the folder cannot be written.
    """
    records = {}
    for role, module in stages.items():
        path = folder / f"{role}.safetensors"
        kinds = _KINDS[role]
        if isinstance(module, Gate):
            name, settings, around, _ = named(module.detector, "", kinds)
            weights.write(module, path, detectors.record(module.detector, about["input_shape"]))
        else:
            name, settings, around, inner = named(module, labels.get(role, ""), kinds)
            weights.write(inner, path, {kinds.kind: name, "arguments": settings})
        records[role] = Stage(name=name, settings=settings, around=around, sha256=_sha(path))
    record = Record(schema=SCHEMA, steelman=VERSION, stages=records, fingerprint=Print(**found.to_dict()), **about)  # type: ignore[arg-type]
    put_bytes(folder / FILE, (record.model_dump_json(by_alias=True, indent=2) + "\n").encode())


def read(folder: Path, *, trust_code: bool) -> tuple[Record, dict[str, nn.Module]]:
    """Returns the record of a pipeline folder, and its stages by name, filled.

    Raises InputError where there is none, one that is damaged or of another schema, a file that is missing or another
    than was saved, and for a name of code unless it is trusted.
    """
    record = _record(folder)
    if "classifier" not in record.stages:
        raise InputError(f"expected a classifier among the stages in {folder / FILE}, got none: copy the folder again")
    for role, stage in record.stages.items():
        path = folder / f"{role}.safetensors"
        if not path.is_file():
            raise InputError(f"expected {path.name} in {folder}, found none: copy the whole folder again")
        if _sha(path) != stage.sha256:
            raise InputError(
                f"expected {path.name} in {folder} as it was saved, got another: files were swapped, changed or "
                "damaged; copy the whole folder again"
            )
        if ":" in stage.name and stage.name not in _KINDS[role] and not trust_code:
            raise InputError(
                f"expected a {role} of the catalogue in {folder}, got {stage.name!r}, which would run code: say "
                "--trust-code, or trust_code=True in Python, where you trust who wrote this"
            )
    made: dict[str, nn.Module] = {}
    for role in ("purifier", "preprocess", "classifier", "beside"):
        if role in record.stages:
            made[role] = _made(folder / f"{role}.safetensors", record.stages[role], _KINDS[role], record)
    if "detector" in record.stages:
        made["detector"] = _gate(folder / "detector.safetensors", record.stages["detector"], made)
    return record, made


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Gives a folder to write into, which takes its place at the end whole, or not at all.

    Raises InputError if there is something else than a pipeline, and if it cannot be written.
    """
    if folder.exists() and not (folder / FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"expected a new folder or a pipeline's at {folder}, got something else: choose another place")
    partial, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    except OSError as error:
        raise InputError(f"expected to write {folder}, but {error.strerror or error}: choose another place") from None
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)


def _record(folder: Path) -> Record:
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"expected a pipeline folder with {FILE}, found none in {folder}: steelman pipeline makes one")
    try:
        content = json.loads(path.read_bytes())
        if (schema := content["schema"]) != SCHEMA:
            raise InputError(
                f"expected a pipeline of schema {SCHEMA} in {folder}, got schema {schema}, which steelman "
                f"{content.get('steelman', 'of another version')} wrote: load it with that one, or make it again"
            )
        return Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        why = f"{type(error).__name__}: {error}"
    raise InputError(f"expected {path} as steelman pipeline writes it, but {why}: copy the whole folder again")


def _made(path: Path, stage: Stage, kinds: Registry[Callable[..., nn.Module]], record: Record) -> nn.Module:
    if stage.name in kinds.shipped:
        if weights.read(path)[1].get("arguments") != stage.settings:
            raise InputError(f"expected the settings of {path} in {FILE}, got others: copy the whole folder again")
        module = weights.rebuild(kinds.shipped, stage.name, path)
    else:
        offered = {"channels": record.input_shape[0], "classes": len(record.classes)}
        module = weights.build(stage.name, kinds.get(stage.name, code=True), stage.settings, **offered)
        weights.fill(module, path)
    for layer in reversed(stage.around):
        module = WRAPPERS[layer.name].around(module, layer.settings)
    return module.eval()


def _gate(path: Path, stage: Stage, made: Mapping[str, nn.Module]) -> nn.Module:
    state, settings = weights.read(path)
    kind = None if stage.name in detectors.catalogue else detectors.catalogue.get(stage.name, code=True)
    watched = made.get("beside", made.get("purifier"))
    gate = Gate(detectors.remade(settings, path, reader(made["classifier"], made.get("preprocess")), watched, kind))
    detectors.fill(gate, state, path)
    return gate.eval()


def reader(classifier: nn.Module, preprocess: nn.Module | None) -> nn.Module:
    """Returns a classifier with its preprocessing, as a detector watches it."""
    return classifier if preprocess is None else nn.Sequential(preprocess, classifier).eval()


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
