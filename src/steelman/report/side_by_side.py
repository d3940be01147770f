"""Pictures of several purifiers before the same attack, set side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steelman.records import Evaluation, Picture
from steelman.report import formatting
from steelman.report.gallery import Cell, cell

_SIDE = 112


@dataclass(frozen=True)
class Side:
    """What one purifier met and made of it; the prediction for either stands in its cell."""

    attacked: Cell
    purified: Cell


@dataclass(frozen=True)
class Line:
    """One image: clean, and before each purifier."""

    label: str
    index: int
    clean: Cell
    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Facing:
    """The images of one data set; heads: of the purifiers, whose it is and its name."""

    title: str
    caption: str
    heads: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]


def facings(evaluation: Evaluation) -> tuple[Facing, ...]:
    """Returns one for each data set and attack with pictures in every role."""
    roles = _roles(evaluation)
    groups: dict[tuple[str, str, str, float], list[Picture]] = {}
    for picture in evaluation.pictures:
        if picture.role in roles:
            groups.setdefault((picture.dataset, picture.attack, picture.norm, picture.eps), []).append(picture)
    return tuple(facing for members in groups.values() if (facing := _facing(members, roles)).lines)


def others(evaluation: Evaluation) -> tuple[Picture, ...]:
    """Returns the pictures that are not set side by side."""
    return tuple(picture for picture in evaluation.pictures if picture.role not in _roles(evaluation))


def _roles(evaluation: Evaluation) -> tuple[str, ...]:
    return evaluation.presentation.side_by_side.roles if evaluation.presentation.side_by_side else ()


def _facing(members: list[Picture], roles: Sequence[str]) -> Facing:
    first = members[0]
    by_image: dict[int, dict[str, Picture]] = {}
    for picture in members:
        by_image.setdefault(picture.index, {})[picture.role] = picture
    both = [[known[role] for role in roles] for known in by_image.values() if len(known) == len(roles)]
    heads = tuple((sides.role, sides.defence) for sides in both[0]) if both else ()
    right = [sum(not _wrong(pictures[at]) for pictures in both) for at in range(len(heads))]
    message = formatting.listed(f"{name} {held} of {len(both)}" for (_, name), held in zip(heads, right, strict=True))
    attack = f"{formatting.attack(first.attack)} at {formatting.ball(first.norm, first.eps)}"
    caption = f"{attack}, made through each pipeline. Classified correctly after it: {message}." if both else ""
    return Facing(formatting.dataset(first.dataset), caption, heads, tuple(map(_line, both)))


def _line(both: list[Picture]) -> Line:
    first = both[0]
    known = f"image {first.index}, class {first.label}"
    clean = cell(first.images[0], _SIDE, f"{known}, clean", first.readings[0], first.label)
    return Line(first.label, first.index, clean, tuple(_side(picture, known) for picture in both))


def _side(picture: Picture, known: str) -> Side:
    def shown(stage: int, name: str) -> Cell:
        alt = f"{known}, {name} {picture.defence}"
        return cell(picture.images[stage], _SIDE, alt, picture.readings[stage], picture.label)

    return Side(shown(1, "attacked through"), shown(2, "drawn by"))


def _wrong(picture: Picture) -> bool:
    return picture.readings[2][0] != picture.label
