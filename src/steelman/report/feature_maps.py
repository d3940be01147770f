"""Feature maps to small multiples, and their noise to a table."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steelman.records import Features
from steelman.report import formatting
from steelman.report.table import Table

MAP = "viridis"
"""Perceptually uniform, and readable without colour."""

_LARGEST = 112
_GAP = 2
_SIDE = 84


@dataclass(frozen=True)
class Tile:
    """One map, or the image itself, as an address, with its size in pixels and its words.

    below: what is read, or which channel it is.  wrong: whether it was read wrong; None for a map.
    """

    uri: str
    size: tuple[int, int]
    alt: str
    below: str
    wrong: bool | None


@dataclass(frozen=True)
class Pair:
    """One image: its clean line of tiles above its adversarial one."""

    label: str
    index: int
    clean: tuple[Tile, ...]
    adversarial: tuple[Tile, ...]


@dataclass(frozen=True)
class Plate:
    """What the layers of one network make of some images: a column for the image and one for each layer.

    heads: of the columns, in words, each with the noise of its layer; the image has none.
    """

    title: str
    caption: str
    heads: tuple[tuple[str, str], ...]
    pairs: tuple[Pair, ...]


def plates(features: Sequence[Features]) -> tuple[Plate, ...]:
    """Returns a plate for each network."""
    return tuple(_plate(one) for one in features)


def noises(features: Sequence[Features]) -> tuple[Table, ...]:
    """Returns the noise of every layer, a network a column, for each data set and attack."""
    groups = dict.fromkeys(map(_against, features))
    return tuple(_noises(group, [one for one in features if _against(one) == group]) for group in groups)


def sheet(features: Features) -> bytes:
    """Returns a PNG of a network's plate without its words: two lines an image, clean above adversarial."""
    lines = [
        [_enlarged(tile) for tile in (_grey(features.images[k, which]), *_coloured_maps(features, k, which))]
        for k in range(len(features.indices))
        for which in (0, 1)
    ]
    gap = np.full((_SIDE, _GAP, 3), 255, np.uint8)
    rows = [np.concatenate([part for tile in line for part in (tile, gap)], axis=1)[:, :-_GAP] for line in lines]
    between = np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8)
    page = np.concatenate([part for row in rows for part in (row, between)], axis=0)[:-_GAP]
    content = BytesIO()
    Image.fromarray(page).save(content, format="PNG", optimize=True)
    return content.getvalue()


def _against(one: Features) -> tuple[str, str, float, str]:
    return one.dataset, one.attack, one.eps, one.norm


def _strength(dataset: str, attack: str, eps: float, norm: str) -> str:
    named = formatting.attack(attack) if norm == "Linf" else f"{formatting.attack(attack)} ({norm})"
    return f"{formatting.dataset(dataset)}, {named} at ε {formatting.eps(eps)}"


def _noises(group: tuple[str, str, float, str], members: list[Features]) -> Table:
    by_depth = sorted(members, key=lambda one: len(one.layers), reverse=True)
    names = list(dict.fromkeys(layer.name for one in by_depth for layer in one.layers))
    said = [
        {layer.name: f"{layer.noise:.3f} [{layer.ci_low:.3f}, {layer.ci_high:.3f}]" for layer in one.layers}
        for one in members
    ]
    several = len({one.classifier for one in members}) > 1
    headers = [f"{one.classifier}, {_defence(one)}" if several else _defence(one) for one in members]
    counts = " / ".join(dict.fromkeys(f"{one.n:,}" for one in members))
    return Table(
        f"Feature noise · {_strength(*group)}",
        f"Mean over {counts} images of |f(x′) − f(x)| / |f(x)| in each layer, in brackets its 95 % interval; each "
        "network under the attack on itself.",
        ("Layer", *headers),
        tuple((name, *(column.get(name, formatting.MISSING) for column in said)) for name in names),
    )


def _defence(one: Features) -> str:
    return formatting.defence(one.defence)


def _plate(one: Features) -> Plate:
    heads = [("image", ""), *((layer.name, f"noise {layer.noise:.2f}") for layer in one.layers)]
    pairs = tuple(Pair(label, one.indices[k], _line(one, k, 0), _line(one, k, 1)) for k, label in enumerate(one.labels))
    return Plate(f"{one.classifier}, {_defence(one)}", _strength(*_against(one)), tuple(heads), pairs)


def _line(one: Features, k: int, which: Literal[0, 1]) -> tuple[Tile, ...]:
    state = ("clean", "adversarial")[which]
    known = f"image {one.indices[k]}, class {one.labels[k]}, {state}"
    read, sure = one.readings[k][which]
    below = f"{read} {formatting.percent(sure)}"
    first = Tile(*_uri(_grey(one.images[k, which])), f"{known}, classified as {below}", below, read != one.labels[k])
    maps = _coloured_maps(one, k, which)
    return first, *(
        Tile(*_uri(drawn), f"{known}, {layer.name}", f"channel {layer.channels[k]}", None)
        for drawn, layer in zip(maps, one.layers, strict=True)
    )


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, C) as three colours; another number of channels as their mean."""
    if image.shape[-1] == 3:
        return image
    grey: NDArray[np.uint8] = np.rint(image.mean(-1, keepdims=True)).astype(np.uint8).repeat(3, -1)
    return grey


def _coloured_maps(one: Features, k: int, which: int) -> list[NDArray[np.uint8]]:
    from matplotlib import colormaps

    colours: NDArray[np.uint8] = np.rint(255 * colormaps[MAP](np.arange(256))[:, :3]).astype(np.uint8)
    return [colours[layer.maps[k, which]] for layer in one.layers]


def _uri(drawn: NDArray[np.uint8]) -> tuple[str, tuple[int, int]]:
    picture = Image.fromarray(np.ascontiguousarray(drawn))
    if max(picture.size) > _LARGEST:
        picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    content = BytesIO()
    picture.save(content, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii"), picture.size


def _enlarged(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    large = Image.fromarray(np.ascontiguousarray(drawn)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    return np.asarray(large)
