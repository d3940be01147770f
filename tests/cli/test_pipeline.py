"""A pipeline made on the command line serves as a model there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from steelman import weights
from steelman.cli import main
from steelman.models import CNN
from steelman.pipeline import Pipeline


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options for nine small images of three classes and a classifier for them."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    np.savez("own.npz", images=generator.integers(0, 256, (9, 28, 28), dtype=np.uint8), labels=np.arange(9) % 3)
    torch.manual_seed(0)
    weights.write(CNN(1, 3), tmp_path / "own.safetensors", {})
    return ["--data", "own.npz", "--model", "cnn", "--weights", "own.safetensors"]


def test_a_folder_is_evaluated_attacked_and_refused_for_other_images(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pipeline", *words, "--defence", "jpeg:quality=50", "--out", "mine"]) == 0
    assert "JPEG" in capsys.readouterr().out
    assert Pipeline.load("mine").defence == "jpeg:quality=50"
    again = ["--data", "own.npz", "--model", "mine", "--attack", "fgsm", "--eps", "0.1"]
    quick = ["--no-curve", "--no-certify", "--no-checks"]
    assert main(["evaluate", *again, *quick, "--out", "one"]) == 0
    parts = ["--defence", "jpeg:quality=50", "--attack", "fgsm", "--eps", "0.1"]
    assert main(["evaluate", *words, *parts, *quick, "--out", "one"]) == 0  # the same run, said otherwise
    result = json.loads(Path("one/results.json").read_text())
    assert {case["defence"] for case in result["cases"]} == {"jpeg:quality=50"}
    assert {row["protocol"] for row in result["rows"]} == {"static", "adaptive"}
    assert main(["attack", *again, "--out", "two"]) == 0
    assert main(["evaluate", "--data", "own.npz", "--model", "mine", "--defence", "median", "--eps", "0.1"]) == 2
    assert "expected no --defence for the pipeline in mine" in capsys.readouterr().err
    assert main(["evaluate", "--data", "mnist", "--model", "mine"]) == 2
    assert "expected the 3 classes" in capsys.readouterr().err


def test_code_in_a_folder_runs_only_with_trust(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(
        "from torch import nn\n\nclass Gamma(nn.Module):\n    def forward(self, x):\n        return x**2\n"
    )
    assert main(["pipeline", *words, "--defence", "mine.py:Gamma", "--out", "own"]) == 0
    again = ["attack", "--data", "own.npz", "--model", "own", "--attack", "fgsm", "--eps", "0.1", "--out", "x"]
    assert main(again) == 2
    assert "say --trust-code" in capsys.readouterr().err
    assert main([*again, "--trust-code"]) == 0
