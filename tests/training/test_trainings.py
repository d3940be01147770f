"""Every purifier that can be trained: how it is built, what it can be told, and one of one's own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from steelman import defences, training, weights
from steelman.data import Data, Images
from steelman.defences import UNetPurifier
from steelman.errors import InputError
from steelman.models import CNN
from steelman.training import TRAININGS, PurifierTraining, Recipe, training_of

RECIPE = Recipe(epochs=1, batch_size=16, rate=0.01, precision="fp32")
MINE = """
from torch import nn
from steelman import training

class Tint(nn.Module):
    def __init__(self, channels=1, shade=0.1):
        super().__init__()
        self.settings = {"channels": channels, "shade": shade}
        self.tint = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return self.tint(x).clamp(0, 1)

def fit(model, classifier, data, *, recipe, checkpoint=None, device="cpu", progress=None, steps=1):
    how = {"checkpoint": checkpoint, "device": device, "progress": progress}
    return training.purifier(model, classifier, data, name="tint", recipe=recipe, steps=steps, **how)

way = training.PurifierTraining(Tint, fit, training.Recipe(epochs=2))
"""


@pytest.fixture
def noise() -> Data:
    def images(name: str) -> Images:
        x = torch.rand(48, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        return Images(x, torch.arange(48) % 3, ("a", "b", "c"), name)

    return Data("noise", images("noise train"), images("noise test"))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        del sys.modules[name]


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return CNN(1, 3, width=4).eval()


@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "defense-gan-encoder"])
def test_each_is_built_as_the_catalogue_has_it(name: str, noise: Data) -> None:
    one = TRAININGS[name]
    built: list[nn.Module] = []

    def fit(model: nn.Module) -> object:
        built.append(model)
        return "trained"

    assert replace(one, fit=fit).train(noise, recipe=RECIPE, settings={}, name=name, device="cpu") == "trained"
    assert type(built[0]) in defences.purifiers.values()
    assert one.builds <= set(built[0].settings)
    assert one.wants("recipe")
    assert not one.fits & {"model", "classifier", "data", "recipe", "checkpoint"}


def test_a_setting_goes_by_its_former_name_too(noise: Data) -> None:
    def fit(model: nn.Module, oblivious: float) -> object:
        return oblivious

    one = replace(TRAININGS["unet"], fit=fit)
    assert one.fits == {"oblivious", "unaware"}
    assert one.train(noise, recipe=RECIPE, settings={"unaware": 0.3}, name="unet", device="cpu") == 0.3


def test_a_training_by_name_is_that_of_the_function(noise: Data) -> None:
    settings = {"width": 4, "code": 8, "steps": 1}
    made = TRAININGS["unet"].train(noise, recipe=RECIPE, settings=settings, name="unet", classifier=classifier())
    with training.seeded(RECIPE.seed):
        model = UNetPurifier(1, width=4, code=8)
    again = training.purifier(model, classifier(), noise, name="unet", recipe=RECIPE, steps=1)
    assert weights.digest(made.model) == weights.digest(again.model)
    assert made.settings == again.settings
    with pytest.raises(InputError, match="name of a setting of unet, got 'widht': did you mean width"):
        TRAININGS["unet"].train(noise, recipe=RECIPE, settings={"widht": 4}, name="unet")


def test_one_of_ones_own_is_trained_saved_and_used(noise: Data, mine: Path) -> None:
    one = training_of("mine.py:way", code=True)
    assert (one.builds, one.fits, one.recipe.epochs) == ({"shade"}, {"steps"}, 2)
    made = one.train(noise, recipe=RECIPE, settings={"shade": 0.2}, name="mine.py:way", classifier=classifier())
    made.save(mine / "tint.safetensors")
    for name in ("mine.py:way", "mine.py:Tint"):
        again = defences.ready(name, {"weights": "tint.safetensors"}, code=True)
        assert weights.digest(again) == weights.digest(made.model)
        assert again.settings == {"channels": 1, "shade": 0.2}


def test_a_class_alone_is_trained_as_unet_is(noise: Data, mine: Path) -> None:
    one = training_of("mine.py:Tint", code=True)
    assert (one.fit, one.recipe) == (training.purifier, TRAININGS["unet"].recipe)
    made = one.train(noise, recipe=RECIPE, settings={"steps": 1}, name="mine.py:Tint", classifier=classifier())
    made.save(mine / "tint.safetensors")
    with pytest.raises(InputError, match=r"would run code: name it beside the weights, as mine.py:Tint:weights="):
        defences.load("tint.safetensors")


@pytest.mark.parametrize(
    ("name", "told"),
    [("unett", "did you mean unet"), ("jpeg", "name of a purifier"), ("mine.py:way", "would run code")],
)
def test_another_name_is_one_line(name: str, told: str, mine: Path) -> None:
    with pytest.raises(InputError, match=told):
        training_of(name)
    assert isinstance(training_of("puvae"), PurifierTraining)
