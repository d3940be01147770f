"""Every test begins with the same global seed, and hypothesis tries the same examples, without a deadline."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

settings.register_profile("steelman", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steelman")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def two_kinds(tmp_path: Path) -> Callable[[int, int, int], Path]:
    """Writes a user's own images: a folder of dark and of light ones, so many of each to train and to test on."""

    def write(side: int, train: int, test: int) -> Path:
        generator = np.random.default_rng(0)
        for split, n in (("train", train), ("test", test)):
            for kind in ("dark", "light"):
                folder = tmp_path / "own" / split / kind
                folder.mkdir(parents=True)
                for i in range(n):
                    pixels = generator.integers(0, 100, (side, side), dtype=np.uint8) + (150 if kind == "light" else 0)
                    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        return tmp_path / "own"

    return write


@pytest.fixture
def tells() -> Callable[[object, tuple[str, ...]], None]:
    """Checks a user's error by its parts: one short line that says what was expected, what came and a way out."""

    def check(error: object, parts: tuple[str, ...]) -> None:
        told = str(error).rstrip("\n")
        missing = [part for part in parts if part not in told]
        assert not missing, f"{missing} not in {told!r}"
        assert "expected" in told or told.endswith(" --help)")
        assert "\n" not in told
        assert "Traceback" not in told
        assert len(told) < 800

    return check
