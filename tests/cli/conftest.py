"""Images of a user's own, for commands to work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_kinds: Callable[[int, int, int], Path]) -> Path:
    """A folder of small images of two classes, with a train and a test split, where commands run."""
    monkeypatch.chdir(tmp_path)
    return two_kinds(8, 24, 4)
