"""Records on disk, and how what a scene gives now is compared with them."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

RECORDS = Path(__file__).parent / "records"
SIZES = {"ten": 10, "hundred": 100}
VERDICTS = frozenset({"index", "clean", "static", "kept", "certified", "broken", "natural", "answer"})
"""Columns that have to be the same on every CPU."""

CLOSE = 1e-4
SHOWN = 20
_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")

Tables = dict[str, dict[str, list[Any]]]


def kind() -> dict[str, str]:
    """Returns what of this CPU decides how its arithmetic rounds."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    told = {key.strip(): value.strip() for key, value in re.findall(r"^([^:\n]+):([^\n]*)", text, re.MULTILINE)}
    flags = told.get("flags", "").split()
    return {
        "machine": platform.machine(),
        "model": told.get("model name", platform.processor()),
        "family": " ".join(told.get(key, "") for key in ("vendor_id", "cpu family", "model")).strip(),
        "flags": " ".join(flag for flag in _FLAGS if flag in flags),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def path(scene: str) -> Path:
    """Returns where the record of a scene stands."""
    return RECORDS / f"{scene}.json"


def read(scene: str) -> dict[str, Any]:
    """Returns the record of a scene: what wrote it, and its tables by "ten" and "hundred"."""
    record: dict[str, Any] = json.loads(path(scene).read_text(encoding="utf-8"))
    return record


def differences(written: Tables, found: Tables, *, exactly: bool) -> list[str]:
    """Returns what differs, a line for each column, with the samples in which it does.

    exactly: whether every column is compared, floats within 1e-4 and all else to the letter; else verdicts alone.
    """
    said = [f"{title}: in one of the two alone" for title in sorted(written.keys() ^ found.keys()) if exactly]
    for title in written:
        if title in found:
            said += _of_table(title, written[title], found[title], exactly)
        elif not exactly and not VERDICTS.isdisjoint(written[title]):
            said.append(f"{title}: is missing")
    return said


def _of_table(title: str, written: dict[str, list[Any]], found: dict[str, list[Any]], exactly: bool) -> Iterator[str]:
    for name, before in written.items():
        if not exactly and name not in VERDICTS:
            continue
        now = found.get(name, [])
        if len(now) != len(before):
            yield f"{title}, {name}: {len(before)} written, {len(now)} now"
            continue
        keys = written.get("index", range(len(before)))
        pairs = zip(keys, before, now, strict=True)
        apart = [f"{key} ({old} written, {new} now)" for key, old, new in pairs if not _same(old, new)]
        if apart:
            more = f" and {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
            yield f"{title}, {name}: {', '.join(apart[:SHOWN])}{more}"


def _same(before: Any, now: Any) -> bool:
    if isinstance(before, float) and isinstance(now, float):
        return before == now or abs(before - now) <= CLOSE or (math.isnan(before) and math.isnan(now))
    return type(before) is type(now) and before == now
