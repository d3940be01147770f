"""Where a configuration is said: a TOML file, or the words of --set."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from steelman.cli.config.entries import OWN, Entry, flat
from steelman.cli.config.keys import KEYS
from steelman.cli.config.lines import lines
from steelman.errors import InputError


def in_file(file: Path) -> dict[str, Entry]:
    """Returns what a file says; its relative paths are relative to it.

    Raises InputError, with the line, for a file that is no TOML, unknown keys and values that do not fit.
    """
    text = _text(file)
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{file}: expected a configuration in TOML, got one nested too deeply") from None
    except ValueError as error:
        raise _no_toml(file, text, str(error)) from None
    at = lines(text)
    return flat(document, lambda key: f"{file}, line {at.get(key, 1)}", file.parent)


def in_words(words: Iterable[str]) -> dict[str, Entry]:
    """Returns what the words of --set say: KEY=VALUE, or NAME=VALUE for a setting of the attack.

    Raises InputError for another form, unknown keys and values that do not fit.
    """
    found: dict[str, Entry] = {}
    for said in words:
        key, equals, text = said.partition("=")
        if not equals or not key:
            raise InputError(f"expected --set as KEY=VALUE or NAME=VALUE, got {said!r}: say --set attack.eps=0.1")
        whole = _whole(key.strip())
        table, _, rest = whole.partition(".")
        name, dot, below = rest.partition(".")
        value = _value(text.strip(), whole)
        document = {table: {name: {below: value} if dot else value}}
        found |= flat(document, lambda key, said=said: f"--set {said}", Path())  # type: ignore[misc]
    return found


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(
            f"expected a configuration file at {file}, found none: give a TOML file, or say everything by options"
        ) from None
    except IsADirectoryError:
        raise InputError(f"expected a configuration file, got the folder {file}: name the TOML file in it") from None
    except OSError as error:
        raise InputError(f"expected a configuration file that can be read at {file}, but {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = f"0x{error.object[error.start]:02x}"
        raise InputError(f"{file}, line {line}: expected UTF-8, got the byte {byte}: save it as UTF-8") from None


def _no_toml(file: Path, text: str, message: str) -> InputError:
    """The error of tomllib, which ends in "(at line 3, column 5)" or "(at end of document)", in our order."""
    what, _, where = message.rpartition(" (at ")
    rows = text.replace("\r\n", "\n").split("\n")
    found = re.fullmatch(r"line (\d+), column (\d+)\)", where)
    if not what:
        return InputError(f"{file}: expected a configuration in TOML, but {message}")
    row, column = (int(found[1]), int(found[2])) if found else (len(rows), len(rows[-1]) + 1)
    rest = rows[row - 1][column - 1 :].strip()
    told = {
        "Invalid value": f"expected a value, got {repr(rest[:40]) if rest else 'nothing'}: a word stands in quotes",
        "Cannot overwrite a value": "expected every key once, got this one again: leave one",
    }.get(what, f"{what[0].lower()}{what[1:]}" if what.startswith("Expected") else f"expected TOML, but {what}")
    return InputError(f"{file}, line {row}, column {column}: {told}")


def _whole(key: str) -> str:
    """A dotted key as it is; a bare one is a setting of the attack."""
    if "." in key:
        return key
    return f"attack.{key}" if f"attack.{key}" in KEYS and key in OWN else f"attack.settings.{key}"


def _value(text: str, whole: str) -> object:
    """A TOML value, a number as Python reads it, or a word."""
    try:
        document: dict[str, object] = tomllib.loads(f"it = {text}")
        value = document["it"] if len(document) == 1 else text
    except (ValueError, RecursionError):
        value = _number(text)
    return text if whole in KEYS and KEYS[whole].kind.words and not isinstance(value, str | list) else value


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text
