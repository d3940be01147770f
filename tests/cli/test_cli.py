"""The command line: what it writes, and one line with exit code 2 for a user's mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from steelman import attacks, data, weights
from steelman.cli import main
from steelman.models import CNN
from steelman.training import named


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Nine small images of three classes, as an .npz."""
    generator = np.random.default_rng(0)
    labels = np.arange(9) % 3
    images = generator.integers(0, 256, (9, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    return tmp_path / "own.npz"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Weights of a compact classifier for them."""
    torch.manual_seed(0)
    weights.write(CNN(1, 3), tmp_path / "own.safetensors", {})
    return tmp_path / "own.safetensors"


def call(*words: object) -> int:
    try:
        return main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_attack_writes_arrays_that_are_a_data_set_and_pngs(arrays: Path, own: Path, tmp_path: Path) -> None:
    words = ("attack", "--data", arrays, "--model", "cnn", "--weights", own, "--attack", "pgd", "--eps", 0.1)
    assert call(*words, "--out", "runs/a") == 0
    with np.load("runs/a/adversarial.npz") as file:
        assert abs(file["images"] - file["clean"]).max() <= 0.1 + 1e-6
        assert file["broken"].shape == (9,)
    assert len(data.load("runs/a/adversarial.npz").test) == 9
    pngs = sorted((tmp_path / "runs/a/png").iterdir())
    assert len(pngs) == 9
    assert pngs[0].name == "000000-class0.png"
    with Image.open(pngs[0]) as image:
        assert image.size == (28, 28)


def test_a_target_is_reached_for(arrays: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("attack", "--data", arrays, "--model", "cnn", "--weights", own, "--eps", 1, "--target", 2)
    assert call(*words, "--attack", "pgd", "--out", "runs/t") == 0
    assert "reach the target" in capsys.readouterr().out
    with np.load("runs/t/adversarial.npz") as file:
        found, broken = torch.from_numpy(file["images"]), torch.from_numpy(file["broken"])
    model = CNN(1, 3).eval()
    weights.fill(model, own)
    assert (model(found).argmax(1)[broken] == 2).all()
    assert broken.any()


def test_evaluate_and_report_leave_a_run_folder(arrays: Path, own: Path, tmp_path: Path) -> None:
    words = ("evaluate", "--data", arrays, "--model", "cnn", "--weights", own, "--attack", "fgsm", "pgd")
    assert call(*words, "--steps", 3, "--eps", 0.01, 0.1, "--each", "--out", "runs/e") == 0
    found = json.loads((tmp_path / "runs/e/results.json").read_text())
    named = [(name, eps) for eps in (0.01, 0.1) for name in ("fgsm", "pgd", "worst of all")]
    assert [(row["attack"], row["eps"]) for row in found["rows"]] == [("none", 0.0), *named]
    assert all(case["verdict"]["word"] for case in found["cases"])
    assert found["settings"]["config"].startswith("[data]")
    assert call("runs", "show", "runs/e") == 0
    assert call("runs", "list", "runs") == 0
    assert call("runs", "compare", "runs/e", "runs/e") == 0
    assert call("runs", "export", "runs/e", "samples.csv") == 0
    assert len((tmp_path / "samples.csv").read_text().splitlines()) == 1 + 2 * len(
        found["cases"][0]["samples"]["index"]
    )
    page = (tmp_path / "runs/e/report.html").read_bytes()
    assert call("report", "runs/e", "--out", "again.html") == 0
    assert (tmp_path / "again.html").read_bytes() == page


def test_train_writes_weights_that_evaluate_takes(tmp_path: Path, two_kinds: Callable[[int, int, int], Path]) -> None:
    two_kinds(16, 24, 4)
    words = ("train", "classifier", "--data", "own", "--epochs", 2, "--batch-size", 8, "--out", "c.safetensors")
    assert call(*words) == 0
    first = weights.read("c.safetensors")
    assert first[1]["classes"] == ["dark", "light"]
    (tmp_path / "c.safetensors").unlink()
    assert call(*words) == 0
    again = weights.read("c.safetensors")
    assert all(torch.equal(first[0][name], again[0][name]) for name in first[0])
    harden = ("train", "robust", "--data", "own", "--model", "lenet", "--norm", "L2", "--eps", 0.5, "--steps", 2)
    assert call(*harden, "--epochs", 1, "--batch-size", 8, "--out", "r.safetensors") == 0
    hardened = weights.read("r.safetensors")[1]
    assert hardened["model"] == "lenet"
    assert "L2(eps=0.5)" in hardened["objective"]
    assert hardened["recipe"]["average"] == named("robust").average
    assert hardened["recipe"]["weight_decay"] == named("robust").weight_decay != named("lenet").weight_decay
    hold = ("evaluate", "--data", "own", "--model", "lenet", "--weights", "r.safetensors", "--norm", "L2")
    assert call(*hold, "--eps", 0.5, "--out", "runs/r") == 0
    purify = ("train", "purifier", "--data", "own", "--classifier", "cnn", "--weights", "c.safetensors")
    assert call(*purify, "--epochs", 1, "--batch-size", 8, "--out", "p.safetensors") == 0
    look = ("evaluate", "--data", "own", "--model", "cnn", "--weights", "c.safetensors", "--defence", "p.safetensors")
    assert call(*look, "--attack", "fgsm", "--eps", 0.1, "--out", "runs/p") == 0
    protocols = {row["protocol"] for row in json.loads(Path("runs/p/results.json").read_text())["rows"]}
    assert protocols == {"static", "adaptive"}


def test_every_attack_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("attack", "--list") == 0
    told = capsys.readouterr().out
    for name, entry in attacks.catalogue.items():
        assert name in told
        assert entry.paper.split()[0] in told


def test_on_the_grid_what_is_broken_is_broken_as_png(
    arrays: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("attack", "--data", arrays, "--model", "cnn", "--weights", own, "--attack", "pgd", "--eps", 0.05, "--grid")
    assert call(*words, "--out", "runs/g", "--set", "restarts=2") == 0
    assert "without the grid" in capsys.readouterr().out
    model = CNN(1, 3).eval()
    weights.fill(model, own)
    with np.load("runs/g/adversarial.npz") as file:
        broken, labels = file["broken"], file["labels"]
    pngs = [np.asarray(Image.open(path)) for path in sorted(Path("runs/g/png").iterdir())]
    reads = model(torch.from_numpy(np.stack(pngs)).float()[:, None] / 255).argmax(1).numpy()
    assert ((reads != labels) == broken).all()


def test_the_smallest_change_and_what_no_ball_describes_need_no_eps(
    arrays: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("attack", "--data", "mnist", "--images", 5, "--attack", "ddn", "--norm", "L2", "--set", "steps=30")
    assert call(*small, "--out", "runs/d") == 0
    assert "median L2 distance" in capsys.readouterr().out
    words = ("attack", "--data", arrays, "--model", "cnn", "--weights", own, "--attack", "spatial")
    assert call(*words, "--set", "rotation=10", "--out", "runs/s") == 0
    assert "distance" not in capsys.readouterr().out


def test_an_attack_can_be_made_on_another_model(arrays: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    surrogate = ("--surrogate", "torch.nn:Flatten")
    words = ("attack", "--data", arrays, "--model", "cnn", "--weights", own, "--eps", 0.1, "--out", "runs/x")
    assert call(*words, "--attack", "transfer", *surrogate) == 2
    assert "expected logits (1, 3) of torch.nn:Flatten" in capsys.readouterr().err
    assert call(*words, "--attack", "fgsm", "--surrogate", "cnn") == 2
    assert "the name of a surrogate" in capsys.readouterr().err
    words = ("attack", "--data", "mnist", "--images", 5, "--eps", 0.3, "--surrogate", "mnist/lenet", "--out", "runs/y")
    assert call(*words, "--attack", "fgsm") == 0
    assert "transfer-fgsm" in capsys.readouterr().out


OWN = "--data {own} --model cnn --weights {weights}"

MISTAKES: dict[str, tuple[str, ...]] = {
    "no targeted form": ("attack --data {own} --attack apgd-t --eps 0.1 --target 1", "no targeted form"),
    "no radius to evaluate at": (f"evaluate {OWN} --attack ddn --norm L2", "radius for ddn"),
    "factory that gives no module": (
        "evaluate --data {own} --model builtins:dict --eps 0.1",
        "dict",
        "an nn.Module",
    ),
    "infinite eps": (f"evaluate {OWN} --eps inf", "radius for standard"),
    "model for colour": (
        "evaluate --data {own} --model torch.nn:Flatten --eps 0.1",
        "logits (1, 3) of torch.nn:Flatten",
    ),
    "factory that wants arguments": (
        "evaluate --data {own} --model torch.nn:Linear --eps 0.1",
        "without settings",
    ),
    "no epochs": ("train classifier --epochs 0 --out w.safetensors", "epochs"),
    "rate not a number": ("train classifier --rate nan --out w.safetensors", "rate"),
    "a folder to write weights to": ("train classifier --out {empty}", "--out", "file"),
    "no test images": ("reproduce --images 0", "--images", "1"),
    "no training images": ("reproduce --share 0", "--share from"),
    "negative png": ("attack --png -1 --eps 0.1", "--png"),
    "train on a test set alone": ("train classifier --data {own} --out w.safetensors", "training images"),
    "robust to what": ("train robust --out w.safetensors", "--eps", "Linf radius"),
    "robust to a negative eps": ("train robust --eps -1 --out w.safetensors", "--eps", "a number >= 0"),
    "robust by no steps": ("train robust --eps 0.3 --steps 0 --out w.safetensors", "steps", "whole number"),
    "robust by steps of no size": ("train robust --eps 0.3 --size nan --out w.safetensors", "size", "number > 0"),
    "robust on a test set alone": ("train robust --data {own} --eps 0.3 --out w.safetensors", "training images"),
    "eps for a plain classifier": ("train classifier --eps 0.3 --out w.safetensors", "unrecognized arguments", "--eps"),
    "share out of range": ("train classifier --data {own} --share 2 --out w.safetensors", "--share"),
    "study of another data set": ("reproduce --datasets cifar10", "data set of the paper"),
    "more images than there are": ("reproduce --images 20000", "--images", "1 to 10000"),
    "unknown device": ("reproduce --device abacus", "device"),
}
"""A command line, and the parts of what is said of it."""


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(
    case: str,
    arrays: Path,
    own: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tells: Callable[[object, tuple[str, ...]], None],
) -> None:
    (tmp_path / "empty").mkdir()
    line, *parts = MISTAKES[case]
    before = sorted(tmp_path.rglob("*.*"))
    assert call(*line.format(own=arrays, weights=own, empty=tmp_path / "empty").split()) == 2
    tells(capsys.readouterr().err, tuple(parts))
    assert sorted(tmp_path.rglob("*.*")) == before


def test_a_model_of_ones_own_is_named_by_its_factory_and_probabilities_are_warned_of(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["from torch import nn", "def sure():", "    layers = [nn.Flatten(), nn.Linear(784, 3), nn.Softmax(1)]"]
    (tmp_path / "my_models.py").write_text("\n".join([*lines, "    return nn.Sequential(*layers)", ""]))
    monkeypatch.syspath_prepend(tmp_path)
    assert call("evaluate", "--data", arrays, "--model", "my_models:sure", "--eps", 0.01, "--out", "runs/s") == 0
    told = capsys.readouterr().err.strip().splitlines()
    assert told
    assert all(line.startswith("steelman: warning: the model seems to return probabilities") for line in told)


@pytest.mark.parametrize("command", ["reproduce", "evaluate", "attack", "train", "report", "data"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    assert f"steelman {command}" in capsys.readouterr().out.split("example", 1)[1]


def test_help_says_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", "--help") == 0
    told = " ".join(capsys.readouterr().out.split())
    for part in ("(mnist)", "(1000)", "(standard)", "(Linf)", "(0.05)", "(250)", "(on)", "(runs/evaluate)"):
        assert part in told


def test_help_imports_neither_torch_nor_pydantic() -> None:
    say = "import sys; from steelman.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    heavy = "sys.exit(bool({'torch', 'pydantic', 'numpy', 'rich'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", say + heavy], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for name in ("reproduce", "evaluate", "runs", "attack", "certify", "detect", "features", "train", "report", "data"):
        assert f"\n    {name}" in done.stdout
