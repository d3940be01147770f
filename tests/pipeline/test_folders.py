"""A pipeline that is saved is the same pipeline when it is loaded, or it is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from steelman import defences, models
from steelman.defences import detectors
from steelman.defences.rejecting import Gate
from steelman.errors import InputError
from steelman.pipeline import Pipeline

SHAPE = (1, 28, 28)
KNOWN = {"classes": ("a", "b", "c"), "input_shape": SHAPE}
OWN = """
import torch
from torch import nn

class Gamma(nn.Module):
    def __init__(self, power=2.0):
        super().__init__()
        self.settings = {"power": power}
        self.power = power

    def forward(self, x):
        return x**self.power

def network(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))
"""


def bare() -> nn.Module:
    torch.manual_seed(0)
    return models.CNN(width=4, classes=3).eval()


def purified() -> Pipeline:
    torch.manual_seed(1)
    purifier = models.fitted(defences.ConvAutoencoder(), SHAPE).eval()
    return Pipeline(bare(), purifier=purifier, name="mine", defence="paper's", **KNOWN)


def rejecting() -> Pipeline:
    plain, beside = bare(), defences.BitDepth(2)
    members = [detectors.ReconstructionError(beside), detectors.FeatureSqueezing(plain)]
    detector = detectors.Combined(members)
    detector.fit(torch.rand(20, *SHAPE), torch.zeros(20, dtype=torch.int64), torch.rand(20, *SHAPE))
    return Pipeline(plain, detector=Gate(detector, 0.5, 0.1), name="mine", defence="rejecting", **KNOWN)


MAKE: dict[str, Callable[[], Pipeline]] = {
    "bare": lambda: Pipeline(bare(), **KNOWN),
    "purified": purified,
    "transform": lambda: Pipeline(bare(), purifier=defences.JPEG(quality=30, gradient="soft"), **KNOWN),
    "smoothed": lambda: Pipeline(defences.Smoothed(bare(), 0.25, draws=2).eval(), **KNOWN),
    "preprocess": lambda: Pipeline(bare(), preprocess=defences.BitDepth(4), **KNOWN),
    "rejecting": rejecting,
}


@pytest.mark.parametrize("kind", MAKE)
def test_what_is_saved_is_what_is_loaded(kind: str, tmp_path: Path) -> None:
    pipeline, x = MAKE[kind](), torch.rand(5, *SHAPE)
    pipeline.save(tmp_path / "out")
    found = Pipeline.load(tmp_path / "out")
    assert found.fingerprint().same(pipeline.fingerprint())
    assert [name for name, _ in found.stages()] == [name for name, _ in pipeline.stages()]
    assert (found.name, found.defence, found.classes, found.input_shape) == (
        pipeline.name,
        pipeline.defence,
        pipeline.classes,
        pipeline.input_shape,
    )
    answers = []
    for one in (pipeline, found):
        torch.manual_seed(0)
        answers.append(one(x))
    assert torch.equal(*answers)
    assert not any(module.training for module in found.modules())
    found.save(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_stage_of_a_folder_is_a_file_of_weights_like_any_other(tmp_path: Path) -> None:
    purified().save(tmp_path)
    assert isinstance(defences.load(tmp_path / "purifier.safetensors"), defences.ConvAutoencoder)
    assert isinstance(models.load(tmp_path / "classifier.safetensors"), models.CNN)


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A stranger's file, as it is loaded by name."""
    from steelman import registry

    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path, registry.load(f"{path}:Gamma"), registry.load(f"{path}:network")


def test_code_runs_only_where_it_is_trusted(own: Any, tmp_path: Path) -> None:
    path, gamma, network = own
    pipeline = Pipeline(
        network(3).eval(),
        purifier=gamma(3.0).eval(),
        name=f"{path}:network",
        defence=f"{path}:Gamma:power=3.0",
        **KNOWN,
    )
    pipeline.save(tmp_path / "out")
    with pytest.raises(
        InputError, match=r"got '.*mine.py:Gamma', which would run code: say --trust-code, or trust_code="
    ):
        Pipeline.load(tmp_path / "out")
    found = Pipeline.load(tmp_path / "out", trust_code=True)
    assert found.fingerprint().same(pipeline.fingerprint())
    unnamed = Pipeline(bare(), purifier=gamma(3.0).eval(), **KNOWN)
    unnamed.save(tmp_path / "unnamed")
    assert Pipeline.load(tmp_path / "unnamed", trust_code=True)(torch.rand(1, *SHAPE)).shape == (1, 3)
    path.write_text(OWN.replace("x**self.power", "x**self.power * 0.9"))
    with pytest.raises(InputError, match="answers or is made otherwise"):
        Pipeline.load(tmp_path / "out", trust_code=True)


def test_what_no_name_makes_again_is_not_saved(tmp_path: Path) -> None:
    class Local(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    changed = defences.JPEG()
    changed.settings["quality"] = 10
    for stage, why in ((Local(), "stands in no module"), (nn.Sequential(nn.ReLU()), "make again"), (changed, "again")):
        with pytest.raises(InputError, match=why):
            Pipeline(bare(), purifier=stage.eval(), **KNOWN).save(tmp_path / "out")
        assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="say input_shape="):
        Pipeline(bare()).save(tmp_path / "out")
    (tmp_path / "photo.png").touch()
    with pytest.raises(InputError, match="got something else"):
        purified().save(tmp_path)


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / "pipeline.json").read_text())
        change(content)
        (folder / "pipeline.json").write_text(json.dumps(content))

    return edit


def swapped(folder: Path) -> None:
    one, other = folder / "purifier.safetensors", folder / "classifier.safetensors"
    one.rename(folder / "third")
    other.rename(one)
    (folder / "third").rename(other)


def reweighed(folder: Path) -> None:
    model = bare()
    model.state_dict()["head.weight"][0, 0] += 1
    other = folder.parent / "other"
    Pipeline(model, purifier=purified().purifier, **KNOWN).save(other)
    shutil.copy(other / "classifier.safetensors", folder)
    there = json.loads((other / "pipeline.json").read_text())["stages"]["classifier"]
    edited(lambda content: content["stages"].update(classifier=there))(folder)


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, "expected a pipeline folder with pipeline.json, found none in"),
    "file missing": (
        lambda f: (f / "purifier.safetensors").unlink(),
        "expected purifier.safetensors in .*, found none",
    ),
    "classifier missing": (edited(lambda c: c["stages"].pop("classifier")), "expected a classifier among the stages"),
    "purifier missing": (edited(lambda c: c["stages"].pop("purifier")), "answers or is made otherwise"),
    "files swapped": (swapped, "expected purifier.safetensors in .* as it was saved, got another: files were swapped"),
    "other weights": (
        reweighed,
        "expected the pipeline that was saved in .*, got one that answers or is made otherwise",
    ),
    "another schema": (edited(lambda c: c.update(schema=7)), "of schema 1 in .*, got schema 7, which steelman 0"),
    "no schema": (edited(lambda c: c.pop("schema")), "KeyError: 'schema'"),
    "damaged": (lambda f: (f / "pipeline.json").write_text("{"), "as steelman pipeline writes it, but JSONDecodeError"),
    "a list": (lambda f: (f / "pipeline.json").write_text("[]"), "as steelman pipeline writes it, but TypeError"),
    "unknown key": (edited(lambda c: c.update(stagess=1)), "stagess: Extra inputs are not permitted"),
    "unknown stage": (edited(lambda c: c["stages"].update(door=c["stages"]["purifier"])), "stages.door"),
    "a wrong type": (edited(lambda c: c.update(classes="abc")), "classes: Input should be a valid list"),
    "settings": (
        edited(lambda c: c["stages"]["purifier"]["settings"].update(noise=0.0)),
        "expected the settings of .*purifier.safetensors in pipeline.json, got others",
    ),
    "another wrapper": (
        edited(lambda c: c["stages"]["purifier"]["around"][0]["settings"].update(size=40)),
        "expected images of 32|answers or is made otherwise",
    ),
    "class names": (edited(lambda c: c.update(classes=["a", "c", "b"])), "answers or is made otherwise"),
    "an unknown name": (edited(lambda c: c["stages"]["purifier"].update(name="jpg")), "did you mean jpeg"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_as_it_was_saved_is_one_clear_line(kind: str, tmp_path: Path) -> None:
    purified().save(tmp_path / "out")
    spoil, message = BAD[kind]
    spoil(tmp_path / "out")
    with pytest.raises(InputError, match=message) as told:
        Pipeline.load(tmp_path / "out")
    assert "\n" not in str(told.value)


def test_a_pipeline_moves_with_what_its_detector_watches() -> None:
    pipeline = rejecting()
    watched = defences.UNetPurifier(width=4, code=4, depth=1).eval()
    pipeline = Pipeline(pipeline.classifier, detector=Gate(detectors.ReconstructionError(watched)), **KNOWN)
    assert pipeline.beside() == (watched,)
    pipeline.double()
    assert next(watched.parameters()).dtype == torch.float64
