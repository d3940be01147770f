"""The configuration file that says the same as a command line."""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path

from steelman.cli.config.entries import in_options
from steelman.cli.config.keys import KEYS, TABLES


def write(options: argparse.Namespace, folder: Path | None = None) -> str:
    """Returns the TOML text that says what these options say, the defaults too.

    options: as `read` returns them.
    folder: where the file will stand, to which its relative paths are relative; the current one unless told.
    """
    sections: dict[str, list[str]] = {}
    for key, entry in in_options(vars(options)).items():
        if entry.value == [math.inf]:  # as far as a change may go where no eps is said
            continue
        section, name = _place(key)
        kind = KEYS[section if section in KEYS else key].kind
        sections.setdefault(section, []).append(
            f"{_key(name)} = {_toml(kind.written(entry.value, folder or Path()))}\n"
        )
    order = sorted(sections, key=lambda section: (TABLES.index(section.partition(".")[0]), section))
    return "\n".join(f"[{section}]\n{''.join(sections[section])}" for section in order)


def _place(key: str) -> tuple[str, str]:
    """The section that a key stands in, and its name there."""
    table, _, name = key.partition(".")
    first, dot, rest = name.partition(".")
    return (f"{table}.{first}", rest) if dot else (table, name)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    """A value as TOML spells it, which is mostly as JSON does."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
