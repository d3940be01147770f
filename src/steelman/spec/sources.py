"""Where options are said: a TOML file, the command line, the words of --set."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelman.errors import InputError
from steelman.spec.lines import Dotted, lines
from steelman.spec.options import OPTIONS, TABLES, named
from steelman.spec.values import shown
from steelman.spec.words import assigned, value, with_settings

OWN = ("steps", "size", "restarts", "queries")
"""Settings of attacks that have a key of their own."""

SETTINGS = {"defence.name": "defence.settings", "defence.detector": "defence.detector_settings"}
"""What the command line says together, as in jpeg:quality=50."""


@dataclass(frozen=True)
class Entry:
    """The value of an option.

    place: where it was said, for messages; "" for the command line's own options.
    file: the file that says it.
    """

    value: Any
    place: str = ""
    file: Path | None = None


def in_file(file: Path) -> dict[str, Entry]:
    """Returns what a file says.

    Raises InputError, with the line, for a file that is no TOML, and for unknown keys.
    """
    text = _text(file)
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{file}: expected a configuration in TOML, got one nested too deeply") from None
    except ValueError as error:
        raise _no_toml(file, text, str(error)) from None
    at = lines(text)
    return _flat(document, lambda key: f"{file}, line {at.get(key, 1)}", file)


def in_words(words: Iterable[str]) -> dict[str, Entry]:
    """Returns what the words of --set say: KEY=VALUE, or NAME=VALUE for a setting of the attack.

    Raises InputError for another form, and for unknown keys.
    """
    found: dict[str, Entry] = {}
    for said, text in assigned(words).items():
        whole = _whole(said)
        table, _, rest = whole.partition(".")
        name, dot, below = rest.partition(".")
        told = value(text)
        if whole in OPTIONS and OPTIONS[whole].kind.plain and not isinstance(told, str | list):
            told = text
        document = {table: {name: {below: told} if dot else told}}
        found |= _flat(document, lambda _, place=f"--set {said}={text}": place)  # type: ignore[misc]
    return found


def in_options(said: Mapping[str, Any]) -> dict[str, Entry]:
    """Returns what options of the command line say, by their keys; some bring their settings."""
    found = {key: Entry(it) for key, it in said.items()}
    for key, table in SETTINGS.items():
        if isinstance(said.get(key), str):
            name, settings = with_settings(said[key])
            found |= {key: Entry(name)} | {f"{table}.{name}": Entry(it) for name, it in settings.items()}
    return found


def _flat(document: Mapping[str, Any], place: Callable[[Dotted], str], file: Path | None = None) -> dict[str, Entry]:
    """What a document says, key by key."""
    found: dict[str, Entry] = {}
    for table, content in document.items():
        if table not in TABLES or not isinstance(content, dict):
            raise InputError(f"{place((table,))}: {_no_table(table, content)}")
        for name, it in content.items():
            key, path = f"{table}.{name}", (table, name)
            if key not in OPTIONS:
                raise InputError(f"{place(path)}: {_no_key(table, name)}")
            if OPTIONS[key].table and not isinstance(it, dict):
                wanted = "as a table of settings by their names"
                raise InputError(f"{place(path)}: expected {key} {wanted}, got {shown(it)}")
            if OPTIONS[key].table:
                found |= {f"{key}.{one}": Entry(each, place((*path, one)), file) for one, each in it.items()}
            else:
                found[key] = Entry(it, place(path), file)
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
    return key if "." in key else f"attack.{key}" if key in OWN else f"attack.settings.{key}"


def _no_table(table: str, content: object) -> str:
    if table in TABLES:
        return f"expected [{table}] as a table, got {shown(content)}: say {table}.{named(table)[0]} = …"
    homes = [key for key in OPTIONS if key.endswith(f".{table}")]
    if not isinstance(content, dict) and homes:
        return f"expected a table, got the key {table!r} outside of one: it is {homes[0]}"
    return f"expected a table, got {table!r}: {_nearest(table, TABLES)}"


def _no_key(table: str, name: str) -> str:
    homes = [key for key in OPTIONS if key.endswith(f".{name}")]
    way = f"it is {homes[0]}" if homes else _nearest(name, named(table))
    return f"expected a key of [{table}], got {name!r}: {way}"


def _nearest(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.4)
    return f"the nearest is {near[0]!r}" if near else f"there are {', '.join(names)}"
