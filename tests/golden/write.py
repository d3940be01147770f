"""Writes the golden records: `python -m tests.golden.write [--scenes plain robust]`, some minutes on one core.

They hold what the code did when it was committed. A change that means to change results writes them again and says why.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from typing import Any

import torch

from .comparing import RECORDS, SIZES, kind, path
from .scenes import played, scenes


def header() -> dict[str, Any]:
    """Returns what writes: the commit it stands on, the version of torch, the kind of CPU and its threads."""
    asked = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(asked, cwd=RECORDS.parent, capture_output=True, text=True, check=True).stdout.strip()
    return {"commit": commit, "torch": torch.__version__, "cpu": kind(), "threads": 1}


def main() -> None:
    """Writes the records of all scenes, or of those that are named."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--scenes", nargs="+", choices=scenes, default=list(scenes), metavar="SCENE")
    for scene in parser.parse_args().scenes:
        record = header() | {size: played(scene, n) for size, n in SIZES.items()}
        RECORDS.mkdir(exist_ok=True)
        path(scene).write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
