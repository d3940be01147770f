"""`steelman certify`, and the training with noise before it, on a few tiny images."""

import csv
import json

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from steelman.cli import main


@pytest.fixture
def tiny(tmp_path):
    """Ten images of two classes, dark and bright, that any classifier tells apart, and noise to train on."""
    draw = np.random.default_rng(0)
    for name, n in (("train", 48), ("test", 10)):
        labels = np.arange(n) % 2
        images = (0.2 + 0.6 * labels[:, None, None, None] + 0.05 * draw.random((n, 1, 8, 8))).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    return tmp_path


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """A classifier that tells bright from dark."""
    (tmp_path / "bright.py").write_text(
        "import torch\n"
        "class Bright(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        mean = x.mean((1, 2, 3))\n"
        "        return 20 * torch.stack([0.5 - mean, mean - 0.5], 1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "bright:Bright"


def test_certify_writes_table_and_certificates(tiny, factory, capsys):
    out = tiny / "out"
    command = ["certify", "--data", str(tiny / "test.npz"), "--model", factory, "--sigma", "0.5", "--n", "2000"]
    assert main([*command, "--radii", "0.5", "0.1", "--out", str(out), "--images", "0"]) == 0
    printed = capsys.readouterr().out
    assert "certified accuracy" in printed
    assert "abstained on 0 of 10 images" in printed
    result = json.loads((out / "results.json").read_text())
    assert [row["radius"] for row in result["certified"]] == [0.0, 0.1, 0.5]
    assert all(row["accuracy"] == 1 for row in result["certified"])
    assert result["certified"][0]["low"] == pytest.approx(0.6915, abs=1e-3)
    assert result["settings"]["sigma"] == 0.5
    assert result["settings"]["precision"] == "fp32"
    rows = list(csv.DictReader((out / "certificates.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == [row["label"] for row in rows] == ["0", "1"] * 5
    radii = torch.tensor([float(row["radius"]) for row in rows])
    assert result["average_radius"] == pytest.approx(float(radii.mean()), abs=1e-5)
    # a change of length 8 d moves the mean of 64 pixels by d, so that the plane is at 2 or more: every copy agrees
    assert radii.tolist() == pytest.approx([0.5 * float(ndtri(0.001 ** (1 / 2000)))] * 10, abs=1e-5)


def test_certify_through_a_defence(tiny, factory):
    command = ["certify", "--data", str(tiny / "test.npz"), "--model", factory, "--n", "50", "--n0", "10"]
    assert main([*command, "--defence", "bit-depth:bits=3", "--out", str(tiny / "out")]) == 0
    assert json.loads((tiny / "out" / "results.json").read_text())["settings"]["defence"] == "bit-depth:bits=3"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--sigma", "0"], "expected sigma"),
        (["--n", "0"], "expected n as a whole number"),
        (["--alpha", "2"], "expected alpha"),
        (["--batch-size", "0"], "expected batch"),
    ],
)
def test_wrong_options_are_one_line(tiny, factory, wrong, told, capsys):
    command = ["certify", "--data", str(tiny / "test.npz"), "--model", factory, "--out", str(tiny / "out")]
    assert main([*command, *wrong]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_noise_is_trained_on_and_recorded(tiny, capsys):
    from steelman import weights

    data, out = tiny / "data", tiny / "cnn.safetensors"
    _as_folder(tiny, data)
    command = ["train", "classifier", "--data", str(data), "--epochs", "1", "--out", str(out)]
    assert main([*command, "--noise", "0.5"]) == 0
    settings = weights.read(out)[1]
    assert "noise=0.5" in settings["objective"]
    assert set(settings["validation"]) == {"noisy", "accuracy"}
    capsys.readouterr()
    assert main([*command, "--noise", "-1"]) == 2
    assert "expected noise as a standard deviation >= 0" in capsys.readouterr().err


def _as_folder(source, target):
    from PIL import Image

    for split in ("train", "test"):
        arrays = np.load(source / f"{split}.npz")
        for at, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
            folder = target / split / ("dark", "bright")[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image[0] * 255).round().astype(np.uint8)).save(folder / f"{at}.png")
