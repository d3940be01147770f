"""Pictures to data URIs: clean, perturbation made visible, adversarial and purified."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steelman.records import Case, Picture
from steelman.report import formatting

SHOWN = 400
_BYTES = 3_300_000
_SMALLEST, _LARGEST = 16, 224
_FACTORS = (100.0, 50.0, 20.0, 10.0, 5.0, 3.0, 2.0, 1.0, 0.5)
_Group = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One image with what stands below it.

    wrong: None where nothing is read (the perturbation).  read: the class that was read, with its confidence in words.
    """

    uri: str
    size: tuple[int, int]
    alt: str
    read: str
    confidence: str
    wrong: bool | None


@dataclass(frozen=True)
class Strip:
    """One picture on its way, in four cells.  details: what else is known of it, a few words each."""

    eps: str
    label: str
    index: int
    cells: tuple[Cell, Cell, Cell, Cell]
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wall:
    """The strips that belong together: of one reason to be shown, or of one attack and protocol; of one pipeline."""

    title: str
    pipeline: str
    defended: bool
    strips: tuple[Strip, ...]


def walls(pictures: Sequence[Picture], cases: Sequence[Case] = ()) -> tuple[Wall, ...]:
    """Returns the first `SHOWN` pictures in groups, no larger than a page of a few megabytes can hold.

    Pictures with a role come first, grouped by it and as they were given; the others by attack, sorted by eps.
    cases: what is known of the distances at which these images break.
    """
    shown = pictures[:SHOWN]
    side = _side(shown)
    distances = _distances(cases)
    groups: dict[_Group, list[Picture]] = {}
    for picture in sorted(shown, key=lambda picture: (not picture.role, _protocol_order(picture) * (not picture.role))):
        groups.setdefault(_group(picture), []).append(picture)
    return tuple(_wall(members, side, distances) for members in groups.values())


def _group(picture: Picture) -> _Group:
    pipeline = picture.dataset, picture.classifier, picture.defence
    if picture.role:
        return "role", picture.role, picture.norm, formatting.eps(picture.eps), *pipeline
    return "attack", picture.attack, picture.protocol, *pipeline


def _wall(members: list[Picture], side: int, distances: Mapping[tuple[object, ...], float]) -> Wall:
    first = members[0]
    pipeline = f"{first.classifier}, {formatting.defence(first.defence)}"
    ordered = members if first.role else sorted(members, key=lambda p: (p.eps, p.index))
    strips = tuple(_strip(picture, side, distances.get(_place(picture, picture.index))) for picture in ordered)
    if first.role:
        title = f"{first.role[0].upper()}{first.role[1:]}"
        norm = "" if first.norm in ("Linf", "none") else f" {first.norm}"
        at = f" at{norm} ε {formatting.eps(first.eps)}" if first.eps else ""
        return Wall(title, f"{formatting.dataset(first.dataset)}, {pipeline}{at}", first.defence != "none", strips)
    title = f"{formatting.dataset(first.dataset)}, {formatting.attack(first.attack)}, {first.protocol}"
    return Wall(title, pipeline, first.defence != "none", strips)


def _distances(cases: Sequence[Case]) -> dict[tuple[object, ...], float]:
    """Returns the distance at which each image breaks, by its pipeline and threat."""
    return {
        _place(case, sample.index): sample.distance
        for case in cases
        for sample in case.samples
        if sample.distance is not None
    }


def _place(of: Case | Picture, index: int) -> tuple[object, ...]:
    return of.dataset, of.classifier, of.defence, of.norm, of.eps, index


def amplified(clean: NDArray[np.uint8], adversarial: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Returns 0.5 + k · (adversarial - clean) as an image, and k: the largest round factor that clips nothing.

    clean, adversarial: (H, W, C).  A perturbation of more than the whole range still gets k = 0.5.
    """
    difference = (adversarial.astype(np.float64) - clean.astype(np.float64)) / 255
    reach = float(np.abs(difference).max(initial=0.0))
    k = next((factor for factor in _FACTORS if factor * reach <= 0.5), _FACTORS[-1]) if reach > 0 else 1.0
    return np.clip(np.rint(255 * (0.5 + k * difference)), 0, 255).astype(np.uint8), k


def _strip(picture: Picture, side: int, distance: float | None) -> Strip:
    clean, adversarial, purified = picture.images
    perturbation, k = amplified(clean, adversarial)
    known = f"image {picture.index}, class {picture.label}"
    names = ("clean", "adversarial", "purified" if picture.defence != "none" else "again, no defence")
    read = [
        cell(image, side, f"{known}, {name}", reading, picture.label)
        for image, name, reading in zip((clean, adversarial, purified), names, picture.readings, strict=True)
    ]
    uri, size = _uri(perturbation, side)
    noise = Cell(uri, size, f"{known}, perturbation times {k:g}", f"× {k:g}", "", None)
    message = [
        formatting.attack(picture.attack) if picture.role else "",
        f"breaks at {distance:.3g}" if distance else "",
    ]
    details = tuple(filter(None, message))
    return Strip(formatting.eps(picture.eps), picture.label, picture.index, (read[0], noise, read[1], read[2]), details)


def cell(image: NDArray[np.uint8], side: int, alt: str, reading: tuple[str, float], label: str) -> Cell:
    """Returns an image, (H, W, C), no larger than `side`, with what was read of it.

    label: its class, by which a reading is right or wrong.
    """
    read, confidence = reading
    uri, size = _uri(image, side)
    sure = f"{100 * confidence:.1f} %"
    return Cell(uri, size, f"{alt}, classified as {read} with {sure} confidence", read, sure, read != label)


def _uri(image: NDArray[np.uint8], side: int) -> tuple[str, tuple[int, int]]:
    """Returns the image as a PNG inside an address, and its width and height."""
    channels = image.shape[2]
    grey = np.rint(image.mean(axis=2)).astype(np.uint8) if channels != 1 else image[..., 0]
    picture = Image.fromarray(np.ascontiguousarray(image) if channels == 3 else np.ascontiguousarray(grey))
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    content = BytesIO()
    picture.save(content, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii"), picture.size


def _side(pictures: Sequence[Picture]) -> int:
    """Returns the longest side of an image such that all of them fit, were they pure noise."""
    values = sum(4 * (3 if picture.images.shape[-1] == 3 else 1) for picture in pictures)
    return int(np.clip((_BYTES / max(values, 1)) ** 0.5, _SMALLEST, _LARGEST))


def _protocol_order(picture: Picture) -> int:
    return formatting.PROTOCOLS.index(picture.protocol)
