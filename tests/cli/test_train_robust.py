"""`steelman train robust`: what it writes and says, and one line with exit code 2 for a user's mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from steelman import weights
from steelman.cli import main


def train(own: Path, *words: object) -> int:
    given = ("train", "robust", "--data", own, "--model", "lenet", "--epochs", 1, "--batch-size", 16)
    try:
        return main([str(word) for word in (*given, "--out", "r.safetensors", *words)])
    except SystemExit as stop:
        return int(stop.code or 0)


ASKED = {
    "as it comes, but for the steps": (("--steps", 2), ("steps=2", "ramp=0.3", "Withstand()"), 4.0),
    "mixed under another attack": (
        ("--objective", "mixed", "--attack", "mi-fgsm", "--steps", 2, "--set", "alpha=0.25"),
        ("name='mi-fgsm'", "steps=2", "Mixed(alpha=0.25)"),
        None,
    ),
    "trades": (
        ("--objective", "trades", "--steps", 2, "--size", 0.05, "--ramp", 0, "--set", "beta=1"),
        ("Diverging()", "size=0.05", "ramp=0,", "Trades(beta=1)"),
        5.0,
    ),
    "clean pairs": (
        ("--objective", "logit-pairing", "--set", "pairing=clean", "noise=0.1"),
        ("CleanPairing", "noise=0.1", "weight=0.5"),
        1.0,
    ),
    "guided": (("--objective", "guided", "--set", "weight=5", "growth=2"), ("LedAway", "weight=5, growth=2"), 4.0),
    "in another norm": (("--objective", "mart", "--norm", "L2", "--steps", 1), ("L2(eps=0.1)", "Mart(beta=5.0)"), 4.0),
}


@pytest.mark.parametrize("case", ASKED)
def test_an_objective_is_trained_and_says_what_it_was(case: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, said, cost = ASKED[case]
    assert train(own, "--eps", 0.1, "--precision", "fp32", *words) == 0
    state, settings = weights.read("r.safetensors")
    objective = settings["objective"].replace("0.0,", "0,")
    assert [part for part in said if part not in objective] == []
    assert settings["model"] == "lenet"
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())
    if cost is not None:
        assert settings["cost"] == cost
    assert f"a step took {settings['cost']:g} times the passes" in capsys.readouterr().out
    assert not list(Path().glob("*.checkpoint"))


def test_the_same_command_gives_the_same_weights(own: Path) -> None:
    found = []
    for _ in range(2):
        assert train(own, "--eps", 0.1, "--objective", "trades", "--steps", 2) == 0
        found.append(Path("r.safetensors").read_bytes())
    assert found[0] == found[1]


MISTAKES = {
    "no eps": ((), "expected --eps"),
    "unknown objective": (
        ("--eps", 0.1, "--objective", "trade"),
        "the name of an objective, got 'trade': did",
    ),
    "unknown attack": (("--eps", 0.1, "--attack", "pgdd"), "expected the name of an attack, got 'pgdd': did you mean"),
    "a cascade": (("--eps", 0.1, "--attack", "autoattack"), "got autoattack, which is several attacks in one"),
    "decisions": (("--eps", 0.1, "--attack", "boundary", "--norm", "L2"), "got boundary, which finds what is smallest"),
    "no word": (("--eps", 0.1, "--set", "beta"), "expected --set as NAME=VALUE"),
    "unknown setting": (("--eps", 0.1, "--objective", "mart", "--set", "bta=1"), "got 'bta': did you mean beta"),
    "a setting with an option": (("--eps", 0.1, "--set", "attack=pgd"), "setting of madry"),
    "alpha": (("--eps", 0.1, "--objective", "mixed", "--set", "alpha=2"), "expected alpha as a number in [0, 1]"),
    "beta": (("--eps", 0.1, "--objective", "trades", "--set", "beta=-1"), "expected beta as a number >= 0"),
    "beta is a word": (("--eps", 0.1, "--objective", "trades", "--set", "beta=six"), "expected beta as a number >= 0"),
    "attack of trades": (("--eps", 0.1, "--objective", "trades", "--attack", "pgd"), "expected no --attack for trades"),
    "steps of guided": (("--eps", 0.1, "--objective", "guided", "--steps", 3), "expected no --steps for guided"),
    "steps of fgsm": (("--eps", 0.1, "--objective", "mixed", "--steps", 3), "expected no steps for fgsm"),
    "ramp": (("--eps", 0.1, "--ramp", 2), "expected ramp as a share in [0, 1]"),
    "norm of guided": (("--eps", 0.1, "--objective", "guided", "--norm", "L2"), "expected Linf for guided"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, told = MISTAKES[mistake]
    assert train(own, *words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert told in said
    assert "Traceback" not in said
    assert not Path("r.safetensors").exists()
