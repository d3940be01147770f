"""What studies that train share: a folder of the run, and one who hears what was trained and measured."""

from pathlib import Path

import pytest

from steelman.progress import Progress


class Heard:
    """What was trained, and what was told of the rest."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.done: list[Progress] = []

    def progress(self, now: Progress) -> None:
        """Notes how far a study is, and each training in it once."""
        if now.inside is None:
            self.done.append(now)
        elif now.inside.title not in self.trained:
            self.trained.append(now.inside.title)


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
