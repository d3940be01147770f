"""What is said in words: NAME=VALUE, and the value of a text."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from typing import Any

from steelman.errors import InputError, unknown


def assigned(words: Iterable[str], option: str = "--set") -> dict[str, str]:
    """Returns NAME=VALUE words as names and the texts of their values.

    option: as the user calls what takes them.
    Raises InputError for a word that is none.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise InputError(f"expected {option} as NAME=VALUE, got {word!r}: say {name or 'NAME'}={text or 'VALUE'}")
        found[name.strip()] = text.strip()
    return found


def value(text: str) -> Any:
    """Returns what a text says: a TOML value, a number as Python reads it, true, false or none, and else the word."""
    plain = text.lower()
    if plain in ("true", "false", "none"):
        return {"true": True, "false": False}.get(plain)
    try:
        document = tomllib.loads(f"it = {text}")
        if len(document) == 1:
            return document["it"]
    except (ValueError, RecursionError):
        pass
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def settings(words: Iterable[str], what: str, takes: Collection[str], option: str = "--set") -> dict[str, Any]:
    """Returns NAME=VALUE words as settings.

    what: as an error calls one, as in "setting of trades".  takes: their names.
    Raises InputError for a word that is none, or a name that is not among these, with the nearest ones.
    """
    given = assigned(words, option)
    for name in given:
        if name not in takes:
            raise unknown(what, name, takes)
    return {name: value(text) for name, text in given.items()}


def with_settings(text: str) -> tuple[str, dict[str, Any]]:
    """Returns a name and the settings behind it, as in jpeg:quality=50,gradient=identity; a bare name has none.

    Raises InputError for settings that are no pairs.
    """
    name, colon, listed = text.rpartition(":")
    if not colon or "=" not in listed:
        return text, {}
    pairs = assigned(listed.split(","), f"the settings of {name}")
    return name, {key: value(word) for key, word in pairs.items()}
