"""On which line of a TOML text each key stands, which `tomllib` does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

Dotted = tuple[str, ...]
"""The parts of a key, with the table that it stands in: ("attack", "eps")."""

Tokens = list[tuple[int, str]]

_TOKEN = re.compile(
    r'(?P<string>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<skipped>#[^\n]*|[ \t]+)"
    r"|(?P<mark>[\n\[\]{},=.])"
    r"|(?P<bare>[^\s\[\]{},=.\"'#]+)",
    re.DOTALL,
)


def lines(text: str) -> dict[Dotted, int]:
    """Returns the line, from 1, of every key and table of a TOML text; the first where a table is split.

    text: that `tomllib.loads` takes.
    """
    tokens = [*_tokens(text.replace("\r\n", "\n")), (0, "")]
    found: dict[Dotted, int] = {}
    table: Dotted = ()
    at = 0
    while tokens[at][1]:
        if tokens[at][1] == "\n":
            at += 1
        elif tokens[at][1] == "[":
            at, table = _key(tokens, _past(tokens, at, "["), (), found)
            at = _past(tokens, at, "]")
        else:
            at = _pair(tokens, at, table, found)
    return found


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    line = 1
    for token in _TOKEN.finditer(text):
        if token.lastgroup != "skipped":
            yield line, token[0]
        line += token[0].count("\n")


def _past(tokens: Tokens, at: int, mark: str) -> int:
    while tokens[at][1] == mark:
        at += 1
    return at


def _key(tokens: Tokens, at: int, prefix: Dotted, found: dict[Dotted, int]) -> tuple[int, Dotted]:
    """Notes a dotted key and what it stands in; returns where it ends, and the whole of it."""
    whole = prefix
    while tokens[at][1] not in ("=", "]", "\n", ""):
        line, word = tokens[at]
        if word != ".":
            whole = (*whole, str(tomllib.loads(f"it = {word}")["it"]) if word[0] in "\"'" else word)
            found.setdefault(whole, line)
        at += 1
    return at, whole


def _pair(tokens: Tokens, at: int, prefix: Dotted, found: dict[Dotted, int]) -> int:
    """Notes a key, and those in its value; returns where the value ends."""
    at, whole = _key(tokens, at, prefix, found)
    return _value(tokens, at + 1, whole, found)


def _value(tokens: Tokens, at: int, whole: Dotted, found: dict[Dotted, int]) -> int:
    """Passes over a value, noting the keys of inline tables in it; returns where it ends."""
    opened = tokens[at][1]
    if opened not in ("[", "{"):
        while tokens[at][1] not in ("\n", ",", "]", "}", ""):
            at += 1
        return at
    at += 1
    while tokens[at][1] not in ("]", "}", ""):
        if tokens[at][1] in (",", "\n"):
            at += 1
        else:
            at = _pair(tokens, at, whole, found) if opened == "{" else _value(tokens, at, whole, found)
    return at + 1
