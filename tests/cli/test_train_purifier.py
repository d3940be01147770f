"""`steelman train purifier` for the two that are to hold when they are known, and the card of what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from steelman import defences, weights
from steelman.cli import main
from steelman.training import checkpoint


@pytest.fixture(autouse=True)
def _classifier(own: Path) -> None:
    """A classifier of these images, as c.safetensors in the folder that a test runs in."""
    assert run("train", "classifier", "--data", "own", "--model", "lenet", *GOOD) == 0


@pytest.fixture
def here(own: Path) -> Path:
    """The folder that a test runs in."""
    return own.parent


GOOD = ("--epochs", 12, "--batch-size", 8, "--average", 0, "--out", "c.safetensors")


def run(*words: object) -> int:
    try:
        return main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)


def train(kind: str, *words: object) -> int:
    given = ("--purifier", kind, "--data", "own", "--classifier", "lenet", "--weights", "c.safetensors", "--epochs", 2)
    return run("train", "purifier", *given, "--batch-size", 16, "--out", "p.safetensors", *words)


def test_a_robust_one_is_trained_through_the_pipeline(here: Path) -> None:
    setting = ("steps=2", "early=0.5", "bounds=0.1", "judge=cnn", "width=2", "hidden=6", "paint=2", "style=3")
    assert train("robust-autoencoder", "--eps", 0.1, "--half", "--set", *setting) == 0
    settings = weights.read(here / "p.safetensors")[1]
    assert "early=0.5" in settings["objective"]
    assert "bounds=0.1" in settings["objective"]
    assert settings["command"].startswith("steelman")
    purifier = defences.load(here / "p.safetensors")
    assert purifier(torch.rand(2, 1, 8, 8)).shape == (2, 1, 8, 8)
    assert purifier.settings["judge"] == "cnn"


def test_a_training_can_start_from_another(here: Path) -> None:
    setting = ("--eps", 0.1, "--set", "early=0", "steps=1", "width=2", "hidden=6", "paint=2", "style=3")
    assert train("robust-autoencoder", *setting) == 0
    (here / "p.safetensors").rename(here / "first.safetensors")
    first = weights.read(here / "first.safetensors")[0]
    assert train("robust-autoencoder", *setting, "--start", "first.safetensors", "--rate", 1e-12) == 0
    again = weights.read(here / "p.safetensors")[0]
    assert torch.allclose(again["judge.head.weight"], first["judge.head.weight"], atol=1e-6)
    assert train("robust-autoencoder", *setting, "--start", "c.safetensors") == 2


def test_a_certified_one_draws_images_of_the_data(here: Path) -> None:
    assert train("certified-autoencoder", "--eps", 0.1, "--set", "width=2", "hidden=6", "clean=0.2") == 0
    purifier = defences.load(here / "p.safetensors")
    dark, light = purifier.examples
    assert dark.mean() < 0.4 < light.mean()
    assert "CertifiedLoss(" in weights.read(here / "p.safetensors")[1]["objective"]


def test_the_best_so_far_can_be_used_while_it_is_trained(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", stopped)
    assert train("certified-autoencoder", "--eps", 0.1, "--set", "width=2", "hidden=6") == 130
    assert defences.load(here / "p.safetensors")(torch.rand(2, 1, 8, 8)).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "expected --eps, the Linf radius to withstand on own"),
        (("--eps", 0.1, "--set", "stepps=2"), "did you mean steps"),
        (("--eps", 0.1, "--set", "early=2"), "expected early as a number in [0, 1]"),
        (("--eps", 0.1, "--set", "judge=vgg"), "expected the name of a judge, got 'vgg'"),
        (("--eps", 0.1, "--set", "steps"), "expected --set as NAME=VALUE, got 'steps'"),
    ],
)
def test_a_mistake_is_one_line(here: Path, capsys: pytest.CaptureFixture[str], words: tuple, said: str) -> None:
    assert train("robust-autoencoder", *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (here / "p.safetensors").exists()


def test_a_card_says_what_stands_in_the_file_and_what_was_measured(here: Path) -> None:
    assert train("certified-autoencoder", "--eps", 0.1, "--set", "width=2", "hidden=6") == 0
    model = ("--model", "lenet", "--weights", "c.safetensors", "--defence", "p.safetensors")
    options = ("--attack", "fgsm", "--eps", 0.1, "--images", 8, "--no-curve", "--no-checks", "--out", "run")
    assert run("evaluate", "--data", "own", *model, *options) == 0
    assert run("report", "run", "--card", "p.safetensors") == 0
    card = (here / "p.md").read_text()
    assert card.startswith("# own/p\n")
    for part in (
        "draws the clearest example",
        "CertifiedLoss(",
        "width 2",
        "seed 0",
        "Linf ε 0.10",
        "## What they do not",
    ):
        assert part in card
    assert run("report", "run", "--card", "c.safetensors", "--out", "c.md") == 0
    assert "two linear layers" in (here / "c.md").read_text()
    assert run("report", "run", "--card", "nowhere.safetensors") == 2
