"""What the value of a key must be, and how it stands in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from steelman.errors import InputError, unknown

LEAST, MOST = -(2**63), 2**63 - 1


def _same(value: object, folder: Path) -> object:
    return value


@dataclass(frozen=True)
class Kind:
    """What a value must be.

    read(what, value, folder): the value of the option, for what stands in a file of that folder under the key `what`.
    It raises InputError for another value.
    written(value, folder): the reverse.
    words: whether it is a word, so that on the command line nothing else is made of it.
    table: whether it is that of every value of a table whose names are not known here.
    """

    read: Callable[[str, object, Path], object]
    written: Callable[[object, Path], object] = _same
    words: bool = False
    table: bool = False


def whole(least: int = LEAST) -> Kind:
    """Returns the kind of whole numbers from `least` up, of at most 64 bits."""
    limit = f" >= {least}" if least > LEAST else " of at most 64 bits"

    def read(what: str, value: object, folder: Path) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise wrong(what, f"a whole number{limit}", value)
        return value

    return Kind(read)


def number(wanted: str, fits: Callable[[float], bool]) -> Kind:
    """Returns the kind of finite numbers that fit.

    wanted: which, as in "a number >= 0".
    """

    def read(what: str, value: object, folder: Path) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _plain(value) or not fits(value):
            raise wrong(what, wanted, value)
        return float(value)

    return Kind(read)


def yes_or_no() -> Kind:
    """Returns the kind of true and false."""

    def read(what: str, value: object, folder: Path) -> object:
        if not isinstance(value, bool):
            raise wrong(what, "true or false", value)
        return value

    return Kind(read)


def word() -> Kind:
    """Returns the kind of any word."""
    return Kind(lambda what, value, folder: _word(what, "a word", value), words=True)


def one_of(choices: Sequence[str]) -> Kind:
    """Returns the kind of these words."""

    def read(what: str, value: object, folder: Path) -> object:
        wanted = f"one of {', '.join(choices)}"
        if _word(what, wanted, value) not in choices:
            raise wrong(what, wanted, value)
        return value

    return Kind(read, words=True)


def path() -> Kind:
    """Returns the kind of paths, relative to the folder that the file is in."""

    def read(what: str, value: object, folder: Path) -> object:
        return folder / _word(what, "a path", value)

    return Kind(read, lambda value, folder: _relative(Path(str(value)), folder), words=True)


def name(kind: str, known: Callable[[], Iterable[str]], *, file: str = "", factory: bool = False) -> Kind:
    """Returns the kind of names that there are.

    kind: what is named, as in "attack".  known: the names, looked up when there is one to check.
    file: what else it may be the path of, as in "an .npz"; a name goes before a path.
    factory: whether it may be package.module:name or path/to/file.py:name.
    """

    def read(what: str, value: object, folder: Path) -> object:
        text = _word(what, "a name", value)
        names = [*known(), *(["package.module:name"] if factory else [])]
        if text in names or (factory and ":" in text and "=" not in text.rpartition(":")[2]):
            return text
        if file and (folder / text).exists():
            return str(folder / text)
        raise unknown(kind, text, [*names, *([file] if file else [])])

    def written(value: object, folder: Path) -> object:
        text = str(value)
        return _relative(Path(text), folder) if file and text not in set(known()) and Path(text).exists() else text

    return Kind(read, written, words=True)


def setting(*, lists: bool) -> Kind:
    """Returns the kind of one setting of an attack or a defence: a number, true, false or a word.

    lists: whether it may be a list of them; a defence's settings stand in one word, where a comma ends one.
    """
    wanted = "a number, true, false or a word" + (", or a list of them" if lists else " without a comma")

    def read(what: str, value: object, folder: Path) -> object:
        each = value if lists and isinstance(value, list) else [value]
        odd = [one for one in each if not _plain(one) or (not lists and isinstance(one, str) and "," in one)]
        if odd:
            raise wrong(what, wanted, odd[0])
        return value

    return Kind(read, table=True)


def several(kind: Kind) -> Kind:
    """Returns the kind of one value or a list of them, at least one."""

    def read(what: str, value: object, folder: Path) -> object:
        if value == []:
            raise InputError(f"expected {what} as one or more, got []: leave it out, or name one")
        return [kind.read(what, each, folder) for each in (value if isinstance(value, list) else [value])]

    def written(value: object, folder: Path) -> object:
        each = [kind.written(one, folder) for one in value] if isinstance(value, list) else [value]
        return each[0] if len(each) == 1 else each

    return Kind(read, written, words=kind.words)


def wrong(what: str, wanted: str, value: object) -> InputError:
    """Returns the error for a value of another kind."""
    return InputError(f"expected {what} as {wanted}, got {told(value)}")


def told(value: object) -> str:
    """Returns a value as a message shows it: as TOML spells it, and short."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _plain(value: object) -> bool:
    """Whether a value is a finite number, true, false or a word."""
    if isinstance(value, str):
        return value != ""
    return isinstance(value, bool) or (isinstance(value, int | float) and abs(value) <= sys.float_info.max)


def _word(what: str, wanted: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise wrong(what, wanted, value)
    return value


def _relative(place: Path, folder: Path) -> str:
    return str(place) if place.is_absolute() else Path(os.path.relpath(place, folder)).as_posix()
