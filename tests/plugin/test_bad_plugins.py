"""Plug-ins and files that cannot be used, from the command line: one line each, and the others go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from steelman import attacks, defences, models
from steelman.cli import main
from steelman.defences import detectors
from steelman.evaluation import checks
from steelman.training import objectives

CATALOGUES = [room.catalogue for room in (attacks, defences, models, detectors, checks, objectives)]
POINTS = """
[steelman.attacks]
bim = strange_plugin:recipe
nowhere = strange_plugin_nowhere:recipe
number = strange_plugin:number
bare = strange_plugin:bare
[steelman.models]
nothing = strange_plugin:nothing
[steelman.defences]
twice = strange_plugin:nothing
[steelman.detectors]
dumb = strange_plugin:Dumb
"""
CODE = """
from torch import nn
number = 3
def recipe(threat): raise AssertionError("never made")
def bare(threat): return number
def nothing(): return None
class Dumb(nn.Module):
    def __init__(self, classifier): super().__init__()
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two installed packages, and files beside, where commands run."""
    for name, points in (("strange-plugin", POINTS), ("other-plugin", "[steelman.defences]\ntwice = other:thing\n")):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
    (tmp_path / "strange_plugin.py").write_text(CODE)
    (tmp_path / "unreadable.py").write_text("def blur(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for catalogue in CATALOGUES:
        vars(catalogue).pop("_plugins", None)
    yield tmp_path
    for catalogue in CATALOGUES:
        vars(catalogue).pop("_plugins", None)
    sys.modules.pop("strange_plugin", None)


MISTAKES = {
    "a shipped name": (
        "--attack bim",
        "expected one attack called bim, got those of steelman itself and strange-plugin 1.0: uninstall",
    ),
    "two plug-ins of one name": ("--defence twice", "expected one defence called twice, got those of"),
    "not to be imported": (
        "--attack nowhere",
        "expected to import the attack nowhere of strange-plugin 1.0, but ModuleNotFoundError",
    ),
    "a number for an attack": (
        "--attack number",
        "expected a function or a class as the attack number of strange-plugin 1.0, got int",
    ),
    "an attack without the protocol": ("--attack bare", "got int without asks, at, "),
    "a model that is none": ("--model nothing", "expected nothing to give an nn.Module, got NoneType"),
    "a detector without a score": ("--detector dumb", "got Dumb without a method score(x)"),
    "a file without such a name": (
        "--defence strange_plugin.py:nothin",
        "expected the name of a thing in strange_plugin.py, got 'nothin': did you mean nothing",
    ),
    "a file with a syntax error": ("--defence unreadable.py:blur", "but SyntaxError: "),
    "a file that is not there": ("--check absent.py:mine", "expected a Python file at "),
    "a check that there is not": ("--check darknes", "expected the name of a trust check, got 'darknes'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_cannot_be_used_is_one_line(
    case: str, site: Path, capsys: pytest.CaptureFixture[str], tells: Callable[[object, tuple[str, ...]], None]
) -> None:
    words, said = MISTAKES[case]
    command = f"evaluate --data mnist --images 4 --eps 0.1 --out run {words}"
    assert main((command if "--attack" in words else f"{command} --attack fgsm").split()) == 2
    tells(capsys.readouterr().err, (said,))
    assert not (site / "run" / "results.json").exists()


def test_the_others_are_listed_and_said_what_is_wrong(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (told, error) = main(["attack", "--list"]), capsys.readouterr()
    assert code == 0, error
    assert "fgsm" in told
    assert "expected to import the attack nowhere of strange-plugin 1.0" in " ".join(told.split())
