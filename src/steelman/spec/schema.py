"""The JSON schema of a file that says a run, for editors and services; `python -m steelman.spec.schema` prints it."""

from __future__ import annotations

import json
import sys
from typing import Any

from steelman.spec.options import OPTIONS
from steelman.spec.parts import Parts

_OURS = ("key", "option", "title", "default", "description")
"""What stands in a field beside the kind of its value."""


def schema() -> dict[str, Any]:
    """Returns the JSON schema of a run's file: its tables and keys, with defaults and help."""
    defined = Parts.model_json_schema()["$defs"]
    tables: dict[str, Any] = {}
    for option in OPTIONS.values():
        part = type(Parts.model_fields[option.part].default).__name__
        found: dict[str, Any] = dict(defined[part]["properties"][option.name])
        about = {key: found[key] for key in ("default", "description") if found.get(key) is not None}
        kinds = [each for each in found.get("anyOf", [found]) if each.get("type") != "null"]
        if option.several:  # one may stand by itself
            each = kinds[0]["items"]
            kinds = [each, {"type": "array", "items": each, "minItems": 1}]
        kinds = [{key: it for key, it in kind.items() if key not in _OURS} for kind in kinds]
        found = about | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})
        table, _, name = option.key.partition(".")
        empty = {"type": "object", "additionalProperties": False, "properties": {}}
        tables.setdefault(table, empty)["properties"][name] = found
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of steelman evaluate",
        "type": "object",
        "additionalProperties": False,
        "properties": tables,
    }


def text() -> str:
    """Returns the schema as docs/run.schema.json holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
