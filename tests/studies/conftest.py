"""What studies that train share: a folder of the run, and one who hears what was trained and measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from steelman import training
from steelman.studies.paper_setup import Done


class Heard:
    """What was trained, and what was told of the rest."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.done: list[Done] = []

    @contextmanager
    def watch(self, title: str) -> Iterator[training.Observer]:
        """Notes a training, and watches none of it."""
        self.trained.append(title)
        yield lambda now: None


@pytest.fixture(scope="module")
def heard() -> Heard:
    """Who hears the first run of the module."""
    return Heard()


@pytest.fixture
def again() -> Heard:
    """Who hears another one."""
    return Heard()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of that run."""
    return tmp_path_factory.mktemp("run")
