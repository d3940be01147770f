"""All that one run measured, and the files that hold it.

A run folder holds `results.json` and, where there are pictures, `pictures.npz` and `features.npz`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from steelman.files import put_bytes
from steelman.records.cases import Case, Sample
from steelman.records.detections import Detection
from steelman.records.pictures import Features, Picture
from steelman.records.presentation import Presentation
from steelman.records.rows import Row

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that one run measured.

    title: what it is.  settings: what was asked for, as JSON values.  versions: of what it ran on.
    notes: sentences that a reader needs to understand the numbers.  seconds: how long it took.
    presentation: what a study says of how its tables are shown.
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
    presentation: Presentation = field(default_factory=Presentation)

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
                {own.name: getattr(picture, own.name) for own in fields(Picture) if own.name != "images"}
                for picture in self.pictures
            ],
            **({"features": [_without_arrays(one) for one in self.features]} if self.features else {}),
            **({"detections": [asdict(one) for one in self.detections]} if self.detections else {}),
            **({"cases": [_plain(case) for case in self.cases]} if self.cases else {}),
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
            **({"presentation": asdict(self.presentation)} if self.presentation != Presentation() else {}),
        }

    def __repr__(self) -> str:
        """A line: ten thousand samples would drown a terminal."""
        verdicts = "".join(f", {case.norm} {case.eps:g} {case.verdict.word}" for case in self.cases)
        return f"<{type(self).__name__} {self.title!r}, rows: {len(self.rows)}, cases: {len(self.cases)}{verdicts}>"


def _arrays(features: tuple[Features, ...]) -> dict[str, Any]:
    arrays: dict[str, Any] = {f"{i}": one.images for i, one in enumerate(features)}
    return arrays | {f"{i}-{j}": layer.maps for i, one in enumerate(features) for j, layer in enumerate(one.layers)}


def _without_arrays(features: Features) -> dict[str, Any]:
    plain = asdict(features)
    del plain["images"]
    for layer in plain["layers"]:
        del layer["maps"]
    return plain


def _plain(case: Case) -> dict[str, Any]:
    """A case as JSON values, its samples in columns, which is a third of the text."""
    plain = asdict(case)
    plain["samples"] = {own.name: [getattr(sample, own.name) for sample in case.samples] for own in fields(Sample)}
    return plain
