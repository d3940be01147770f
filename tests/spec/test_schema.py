"""The published schema is what the code gives, and knows every key."""

from __future__ import annotations

import json
from pathlib import Path

from steelman.spec import schema
from steelman.spec.options import OPTIONS

PUBLISHED = Path(__file__).parents[2] / "docs" / "run.schema.json"


def test_the_published_schema_is_what_the_code_gives() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema.text(), "say make schema"


def test_every_key_is_in_the_schema_with_its_kind_and_help() -> None:
    tables = json.loads(schema.text())["properties"]
    assert {f"{table}.{name}" for table, it in tables.items() for name in it["properties"]} == OPTIONS.keys()
    found = {f"{table}.{name}": one for table, it in tables.items() for name, one in it["properties"].items()}
    assert all(one["description"] and ("anyOf" in one or "type" in one or "enum" in one) for one in found.values())
    assert all(one["additionalProperties"] is False for one in tables.values())
    assert found["attack.norm"]["enum"] == ["Linf", "L2", "L1", "L0"]
    assert found["data.images"]["minimum"] == 0
    number, fraction = found["attack.eps"]["anyOf"][0]["anyOf"]
    assert (number["minimum"], fraction["type"]) == (0, "string")
    assert "null" not in schema.text()
