"""The file that says a run."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from steelman.spec.options import OPTIONS, TABLES, Option
from steelman.spec.parts import Parts
from steelman.spec.values import Name


def write(spec: Parts, folder: Path) -> str:
    """Returns the TOML text that says a run, the defaults too; its relative paths are relative to the folder."""
    sections: dict[str, list[str]] = {}
    for option in OPTIONS.values():
        value = getattr(getattr(spec, option.part), option.name)
        if option.table:
            lines = [_line(name, _from(Path(it), folder) if name == "weights" else it) for name, it in value.items()]
            sections |= {option.key: lines} if value else {}
        elif value is not None:
            table, _, name = option.key.partition(".")
            each = [_relative(option, it, folder) for it in (value if option.several else [value])]
            sections.setdefault(table, []).append(_line(name, each if len(each) > 1 else each[0]))
    order = sorted(sections, key=lambda section: (TABLES.index(section.partition(".")[0]), section))
    return "\n".join(f"[{section}]\n{''.join(sections[section])}" for section in order)


def _line(name: str, value: Any) -> str:
    return f"{name if re.fullmatch(r'[A-Za-z0-9_-]+', name) else _toml(name)} = {_toml(value)}\n"


def _toml(value: Any) -> str:
    """A value as TOML spells it, which is mostly as JSON does."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps("none" if value is None else value)


def _relative(option: Option, value: Any, folder: Path) -> Any:
    """A path as the file says it; whatever is none stays as it is."""
    if isinstance(option.kind, Name):
        kind = option.kind
        place, colon, code = value.rpartition(":") if kind.code and ".py:" in value else (value, "", "")
        if value in set(kind.known()) or not (colon or (kind.file and Path(place).exists())):
            return value
        return f"{_from(Path(place), folder)}{colon}{code}"
    return _from(value, folder) if isinstance(value, Path) else value


def _from(place: Path, folder: Path) -> str:
    return str(place) if place.is_absolute() else Path(os.path.relpath(place, folder)).as_posix()
