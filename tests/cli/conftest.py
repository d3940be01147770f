"""Images of a user's own, for commands to work on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small images of two classes, with a train and a test split."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for split, n in (("train", 24), ("test", 4)):
        for kind in ("dark", "light"):
            folder = tmp_path / "own" / split / kind
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = generator.integers(0, 100, (8, 8), dtype=np.uint8) + (150 if kind == "light" else 0)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "own"
