"""What is said, key by key, by a file, a command line or --set, and where it stands."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from steelman.cli.bring import parsed
from steelman.cli.config.keys import KEYS, TABLES, named
from steelman.cli.config.kinds import told, wrong
from steelman.cli.config.lines import Dotted
from steelman.errors import InputError

OWN = ("steps", "size", "restarts", "queries")
"""Settings of attacks that have a key of their own."""


@dataclass(frozen=True)
class Entry:
    """The value of an option.

    place: where it was said, for messages; None for the command line's own options.
    """

    value: object
    place: str | None


def in_options(options: Mapping[str, object]) -> dict[str, Entry]:
    """Returns what options say, by the places that the parser puts them in."""
    found: dict[str, Entry] = {}
    for key, it in KEYS.items():
        value = options.get(it.dest)
        if value is not None and not it.kind.table:
            found[key] = Entry(value, None)
    if "defence.name" in found:
        name, settings = _split(str(found["defence.name"].value))
        found["defence.name"] = Entry(name, None)
        found |= {f"defence.settings.{key}": Entry(value, None) for key, value in settings.items()}
    words = options.get("set")
    for word in words if isinstance(words, list) else []:
        name, _, text = word.partition("=")
        found[f"attack.settings.{name}"] = Entry(_known(text), None)
    return found


def as_options(entries: Mapping[str, Entry]) -> argparse.Namespace:
    """Returns the options that say the same."""
    options: dict[str, object] = {it.dest: None for it in KEYS.values()}
    for key, entry in entries.items():
        if key in KEYS:
            options[KEYS[key].dest] = entry.value
    settings = [f"{name}={_text_of(value)}" for name, value in below(entries, "defence.settings").items()]
    if settings:
        options["defence"] = f"{options['defence'] or ''}:{','.join(settings)}"
    options["set"] = [f"{name}={_text_of(value)}" for name, value in below(entries, "attack.settings").items()]
    return argparse.Namespace(**options)


def below(entries: Mapping[str, Entry], table: str) -> dict[str, object]:
    """Returns the values of a table of settings by their names."""
    start = f"{table}."
    return {key.removeprefix(start): entry.value for key, entry in entries.items() if key.startswith(start)}


def flat(document: Mapping[str, object], place: Callable[[Dotted], str], folder: Path) -> dict[str, Entry]:
    """Returns the entries of a parsed document.

    place: where a key stands.
    Raises InputError for unknown tables and keys and for values that do not fit, with their place.
    """
    found: dict[str, Entry] = {}
    for table, content in document.items():
        if table not in TABLES or not isinstance(content, dict):
            raise InputError(f"{place((table,))}: {_no_table(table, content)}")
        for name, value in content.items():
            key, path = f"{table}.{name}", (table, name)
            if key not in KEYS:
                raise InputError(f"{place(path)}: {_no_key(table, name)}")
            if not KEYS[key].kind.table:
                found[key] = _read(key, key, value, place(path), folder)
                continue
            if not isinstance(value, dict):
                raise InputError(f"{place(path)}: {wrong(key, 'a table of settings by their names', value)}")
            for below, setting in value.items():
                found[f"{key}.{below}"] = _read(key, f"{key}.{below}", setting, place((*path, below)), folder)
    return found


def _read(key: str, what: str, value: object, place: str, folder: Path) -> Entry:
    try:
        return Entry(KEYS[key].kind.read(what, value, folder), place)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _no_table(table: str, content: object) -> str:
    if table in TABLES:
        return f"expected [{table}] as a table, got {told(content)}: say {table}.{named(table)[0]} = …"
    homes = [key for key in KEYS if key.endswith(f".{table}")]
    if not isinstance(content, dict) and homes:
        return f"expected a table, got the key {table!r} outside of one: it is {homes[0]}"
    return f"expected a table, got {table!r}: {_nearest(table, TABLES)}"


def _no_key(table: str, name: str) -> str:
    homes = [key for key in KEYS if key.endswith(f".{name}")]
    way = f"it is {homes[0]}" if homes else _nearest(name, named(table))
    return f"expected a key of [{table}], got {name!r}: {way}"


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.4)
    return f"the nearest is {near[0]!r}" if near else f"there are {', '.join(names)}"


def _split(defence: str) -> tuple[str, dict[str, object]]:
    """A defence and its settings, as jpeg:quality=50 says them; what does not is left to who builds it."""
    name, colon, listed = defence.rpartition(":")
    words = listed.split(",")
    if not colon or not all("=" in word for word in words):
        return defence, {}
    return name, {key: _known(text) for key, _, text in (word.partition("=") for word in words)}


def _known(text: str) -> object:
    """What the command line makes of the text of a setting, as TOML can say it."""
    value = parsed(text)
    return text if value is None or isinstance(value, dict) else value


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
