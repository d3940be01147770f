"""A plug-in package, installed as a user installs one, and used by its names on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import steelman

HERE = Path(__file__).parent / "package"
KITS = """
from steelman.testing import check_attack, check_defence, check_detector
import steelman_sample as sample
check_attack("sample-corners", norms=["Linf"], quick={"tries": 5})
check_defence(sample.Blur(), exact=True)
check_defence(sample.Tint(), exact=True)
check_detector("sample-darkness", exact=True)
"""
COMMANDS = (
    "train robust --objective sample-noise --model sample-linear --data own --eps 0.1 --epochs 1 --out m.safetensors",
    "train purifier --purifier sample-tint --classifier sample-linear --weights m.safetensors --data own --set steps=1 "
    "--out p.safetensors",
    "train detector --detector sample-darkness --classifier sample-linear --weights m.safetensors --data own "
    "--fitted-eps 0.5 --out d.safetensors",
    "evaluate --model sample-linear --weights m.safetensors --data own --attack sample-corners --eps 0.2 "
    "--set tries=3 --defence sample-blur:size=5 --check sample-range --no-curve --out blurred",
    "evaluate --model sample-linear --weights m.safetensors --data own --attack sample-corners --eps 0.2 "
    "--defence p.safetensors --detector d.safetensors --no-curve --no-checks --out rejecting",
    "attack --list",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into."""
    where = tmp_path_factory.mktemp("site")
    source = where / "source"
    source.mkdir()
    for file in HERE.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    quiet = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q")
    command = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(where / "site"), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return where / "site"


def python(site: Path, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(site), str(Path(steelman.__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": paths, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def test_what_it_brings_is_used_by_name(site: Path, tmp_path: Path, two_kinds: Callable[[int, int, int], Path]) -> None:
    two_kinds(8, 24, 20)
    code = f"{KITS}\nfrom steelman.cli import main\nfor line in {COMMANDS!r}:\n    assert main(line.split()) == 0, line"
    done = python(site, code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sample-corners" in done.stdout.rpartition("cost of an image")[2]
    (case,) = json.loads((tmp_path / "blurred" / "results.json").read_text())["cases"]
    assert {breaker["attack"] for breaker in case["breakers"]} >= {"sample-corners"}
    (own,) = [check for check in case["checks"] if check["name"] == "sample-range"]
    assert own["claim"] == "Pixels use the whole of [0, 1]."
    assert own["outcome"] == "pass"
