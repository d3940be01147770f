"""`steelman features`, and models built with settings of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from steelman import weights
from steelman.cli import main
from steelman.models import ResNet18
from steelman.records import read


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (9, 12, 12), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(9) % 3)
    return tmp_path / "own.npz"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = ResNet18(1, 3, width=2, denoise="mean")
    weights.write(model, tmp_path / "net.safetensors", {"model": "resnet18", "arguments": model.settings})
    return tmp_path / "net.safetensors"


def call(*words: object) -> int:
    try:
        return main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)


def features(arrays: Path, net: Path, *words: object) -> int:
    return call("features", "--data", arrays, "--model", "resnet18", "--weights", net, *words)


def test_named_layers_are_drawn_clean_and_attacked(arrays: Path, net: Path) -> None:
    words = ("--eps", 0.2, "--layers", "stage2", "denoise2.denoise", "--pictures", 2, "--out", "runs/f")
    assert features(arrays, net, *words) == 0
    found = read("runs/f")
    (record,) = found.features
    assert [layer.name for layer in record.layers] == ["stage2", "denoise2.denoise"]
    assert record.n == 9
    assert record.images.shape == (2, 2, 12, 12, 1)
    assert [row.attack for row in found.rows] == ["none", "pgd"]
    assert Path("runs/f/features.png").read_bytes().startswith(b"\x89PNG")
    assert 'id="features"' in Path("runs/f/report.html").read_text(encoding="utf-8")


def test_without_names_the_parts_that_give_maps_are_drawn(arrays: Path, net: Path) -> None:
    assert features(arrays, net, "--eps", 0.2, "--attack", "fgsm", "--out", "runs/f") == 0
    names = [layer.name for layer in read("runs/f").features[0].layers]
    assert names == ["stem", *(f"{part}{k}" for k in (1, 2, 3, 4) for part in ("stage", "denoise"))]


def test_the_names_of_layers_are_listed(arrays: Path, net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert features(arrays, net, "--list") == 0
    listed = capsys.readouterr().out.split()
    assert "stage1.0.body.0" in listed
    assert "head" not in listed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--eps", 0.2, "--layers", "stage9"), "did you mean stage"),
        (("--eps", 0.2, "--layers", "head"), "feature maps"),
        (("--eps", 0.2, 0.3), "one attack at one eps"),
        (("--attack", "ddn", "--norm", "L2"), "inside a radius"),
        (("--eps", 0.2, "--pictures", 0), "--pictures"),
        ((), "--eps"),
    ],
)
def test_a_users_mistake_is_told_in_one_line(
    arrays: Path, net: Path, words: tuple[object, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert features(arrays, net, *words, "--out", "runs/f") == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.fixture
def split(two_kinds: Callable[[int, int, int], Path]) -> Path:
    """A folder of images in two classes to train and to test on."""
    return two_kinds(12, 16, 3)


def test_a_model_is_trained_as_its_settings_say_and_used_as_its_file_says(split: Path) -> None:
    words = ("train", "classifier", "--data", split, "--model", "resnet18", "--epochs", 1, "--precision", "fp32")
    how = ("--model-set", "width=2", "denoise=nonlocal-dot", "stem=half", "--out", "own.safetensors")
    assert call(*words, *how) == 0
    arguments = weights.read("own.safetensors")[1]["arguments"]
    assert arguments == {"channels": 1, "classes": 2, "width": 2, "denoise": "nonlocal-dot", "stem": "half"}
    attack = ("attack", "--data", split, "--model", "resnet18", "--weights", "own.safetensors", "--eps", 0.1)
    assert call(*attack, "--steps", 2, "--out", "runs/a") == 0


@pytest.mark.parametrize(
    ("setting", "told"),
    [("width", "NAME=VALUE"), ("wdith=2", "did you mean width"), ("width=0", "width"), ("denoise=blur", "operation")],
)
def test_settings_that_build_no_model_are_refused(
    split: Path, setting: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "robust", "--data", split, "--model", "resnet18", "--eps", 0.1)
    assert call(*words, "--model-set", setting, "--out", "own.safetensors") == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
