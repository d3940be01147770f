"""What a measurement found, as plain records: no torch here, so that a report can be drawn anywhere.

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
from numpy.typing import NDArray

from steelman.errors import InputError
from steelman.files import put_bytes

SCHEMA = 1

WORST = "worst of all"
"""The attack of a row that counts what survives every other of its threat."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One cell of a table: the accuracy of one pipeline under one attack at one eps.

    table: "1a", "1b", "2", "3" of the paper, "defences", "training" or "evaluate".
    protocol: "as-published", "static" or "adaptive".
    norm: of the attack, "Linf", "L2", "L1" or "L0"; "none" for one that no ball describes, whose eps is 0.
    n: images measured; 0 and no accuracy where only a published figure stands.  ci_low, ci_high: 95 %, Clopper-Pearson.
    published: the paper's figure.
    latency_ms: median for one image through defence and classifier on `threads` threads; the paper's where n is 0.
    note: what a reader must know of this cell.
    """

    table: str
    dataset: str
    classifier: str
    defence: str
    attack: str
    eps: float
    protocol: str
    n: int
    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    published: float | None = None
    latency_ms: float | None = None
    threads: int | None = None
    note: str = ""
    norm: str = "Linf"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image on its way: clean, attacked, purified, and what the classifier read each time.

    index: its place in the test set.  label: its class.  images: (3, H, W, C) uint8, clean, adversarial and purified
    (purified is the adversarial again where there is no defence).  readings: for each of the three the class that was
    read and its confidence in [0, 1].
    """

    dataset: str
    classifier: str
    defence: str
    attack: str
    eps: float
    protocol: str
    index: int
    label: str
    images: NDArray[np.uint8]
    readings: tuple[tuple[str, float], tuple[str, float], tuple[str, float]]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one layer makes of clean and of attacked images.

    noise: mean over n images of |f(x') - f(x)| / |f(x)|, Euclidean.  ci_low, ci_high: its 95 % interval, normal.
    maps: (K, 2, H, W) uint8, one channel of the layer for each of K images, clean and adversarial on one scale.
    channels: which one, for each image.
    """

    name: str
    noise: float
    ci_low: float
    ci_high: float
    channels: tuple[int, ...]
    maps: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the layers of one network make of an attack on it: their noise over n images, and the maps of K of these.

    indices, labels: (K,), places in the test set and classes.  images: (K, 2, H, W, C) uint8, clean and adversarial.
    readings: (K, 2), for each of them the class that was read and its confidence in [0, 1].
    """

    dataset: str
    classifier: str
    defence: str
    attack: str
    eps: float
    norm: str = "Linf"
    n: int
    indices: tuple[int, ...]
    labels: tuple[str, ...]
    readings: tuple[tuple[tuple[str, float], tuple[str, float]], ...]
    images: NDArray[np.uint8]
    layers: tuple[Layer, ...]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How well one detector tells the images of one attack from clean ones.

    fitted_on: the attack that it was fitted on, "" for clean images alone.  seen: whether that is this attack.
    positives: attacked images that broke the classifier.  negatives: clean images that it reads right.
    auc: area under the ROC, with its 95 % interval (DeLong).  tpr: share of positives above the threshold that at most
    a share `fpr` of negatives exceeds, with its 95 % interval (Clopper-Pearson).  None where there are no positives.
    curve: corners of the ROC as (false-positive rate, true-positive rate), thinned.
    """

    dataset: str
    classifier: str
    detector: str
    attack: str
    fitted_on: str
    seen: bool
    positives: int
    negatives: int
    fpr: float = 0.05
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    tpr: float | None
    tpr_low: float | None
    tpr_high: float | None
    curve: tuple[tuple[float, float], ...] = ()


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
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
        }

    def save(self, path: Path | str) -> None:
        """Writes the report as one HTML file that opens offline.

        Raises InputError if it cannot be written, or if the extra `report` is not installed.
        """
        from steelman.report import write_html

        write_html(self, path)


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
