"""Defensive distillation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from steelman import models, weights
from steelman.cli import main
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.training import Recipe, distilled
from steelman.training.objectives import Distil

RECIPE = Recipe(epochs=2, batch_size=16, rate=0.05, precision="fp32")


def images(name: str = "noise") -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(48, 1, 8, 8, generator=generator), torch.arange(48) % 3, ("a", "b", "c"), name)


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()


def test_a_teacher_learns_labels_at_the_temperature() -> None:
    model, (x, y) = linear(), (images().x, images().y)
    exp = (model(x) / 20).exp()
    chosen = exp.gather(1, y[:, None])[:, 0] / exp.sum(1)
    assert torch.allclose(Distil(temperature=20).loss(model, (x, y)), -chosen.log().mean(), atol=1e-6)


def test_a_student_learns_the_softened_answers_and_asks_no_label() -> None:
    model, teacher, x = linear(0), linear(1), images().x
    soft = (teacher(x) / 5).exp()
    soft = soft / soft.sum(1, keepdim=True)
    own = (model(x) / 5).exp()
    wanted = -(soft * (own / own.sum(1, keepdim=True)).log()).sum(1).mean()
    objective = Distil(teacher=teacher, temperature=5)
    for y in (images().y, torch.zeros(48, dtype=torch.int64)):
        assert torch.allclose(objective.loss(model, (x, y)), wanted, atol=1e-6)
    objective.loss(model, (x, images().y)).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert repr(objective) != repr(Distil(teacher=linear(2), temperature=5))


@pytest.mark.parametrize("temperature", [0.0, -3.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_an_error(temperature: float) -> None:
    with pytest.raises(InputError, match="expected temperature as a number > 0"):
        Distil(temperature=temperature)


def test_a_whole_training_says_its_temperature_and_its_teacher() -> None:
    data = Data("noise", images("noise train"), images("noise test"))
    teacher = distilled(linear(0), data, name="mine", teacher=None, temperature=4, recipe=RECIPE)
    assert "teacher" not in teacher.settings
    made = distilled(linear(1), data, name="mine", teacher=teacher.model, temperature=4, recipe=RECIPE)
    assert made.settings["temperature"] == 4
    assert made.settings["teacher"] == weights.digest(teacher.model)
    with pytest.raises(InputError, match="expected a teacher beside the model"):
        distilled(made.model, data, name="mine", teacher=made.model, recipe=RECIPE)


def folder(place: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", 24), ("test", 4)):
        for name in ("dark", "light", "mixed"):
            (place / split / name).mkdir(parents=True)
            for i in range(n):
                Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(place / split / name / f"{i}.png")
    return place


def test_the_command_trains_both_and_keeps_the_teacher_beside(tmp_path: Path) -> None:
    data, out = folder(tmp_path / "own"), tmp_path / "d.safetensors"
    common = ["train", "distilled", "--data", str(data), "--epochs", "1", "--precision", "fp32"]
    assert main([*common, "--temperature", "5", "--out", str(out)]) == 0
    teacher = tmp_path / "d.teacher.safetensors"
    assert not list(tmp_path.glob("*.checkpoint"))
    settings = weights.read(out)[1]
    assert (settings["model"], settings["temperature"]) == ("cnn", 5.0)
    assert weights.read(teacher)[1]["temperature"] == 5.0
    assert settings["teacher"] == weights.digest(models.build("cnn", channels=1, classes=3, weights_file=teacher))
    again = tmp_path / "e.safetensors"
    assert main([*common, "--temperature", "5", "--teacher", str(teacher), "--out", str(again)]) == 0
    assert not (tmp_path / "e.teacher.safetensors").exists()
    one, other = weights.read(out)[0], weights.read(again)[0]
    assert all(torch.equal(one[name], other[name]) for name in one)
    for given in (["--temperature", "0"], ["--temperature", "5", "--awp", "0.1"], ["--average", "2"]):
        assert main([*common, *given, "--out", str(tmp_path / "f.safetensors")]) == 2
