"""Every option of a run as each door sees it: read off the fields of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from steelman.spec.parts import Parts
from steelman.spec.values import Kind, Name, kind


@dataclass(frozen=True)
class Option:
    """One option.

    key: in a file, with its table.  option: on the command line.  says: its help.
    part, name: where it stands in a RunSpec.
    """

    key: str
    option: str
    says: str
    part: str
    name: str
    default: Any
    kind: Kind | Name
    several: bool

    @property
    def table(self) -> bool:
        """Whether it is a table of settings, whose names are not known here."""
        return isinstance(self.default, dict)

    @property
    def switch(self) -> bool:
        """Whether it is true or false."""
        return isinstance(self.default, bool)


def _options() -> Iterator[Option]:
    for part, outer in Parts.model_fields.items():
        for name, info in type(outer.default).model_fields.items():
            extra = info.json_schema_extra
            assert isinstance(extra, dict)
            several = "tuple[" in str(info.annotation)
            yield Option(
                str(extra["key"]),
                str(extra["option"]),
                str(info.description),
                part,
                name,
                info.default,
                kind(info),
                several,
            )


OPTIONS = {option.key: option for option in _options()}
"""By key, table by table, in the order that a file is written."""

TABLES = tuple(dict.fromkeys(key.partition(".")[0] for key in OPTIONS))


def option_of(key: str) -> Option:
    """Returns the option that a key stands in; the whole table for a setting."""
    return OPTIONS[key] if key in OPTIONS else OPTIONS[".".join(key.split(".")[:2])]


def named(table: str) -> list[str]:
    """Returns the names of the keys of one table."""
    return [key.partition(".")[2] for key in OPTIONS if key.startswith(f"{table}.")]
