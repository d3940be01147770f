"""A pipeline is built from plain values, and what does not fit is one clear line before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from steelman import data, defences, models, weights
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.pipeline import Pipeline, build
from steelman.spec import PipelineSpec


@pytest.fixture(scope="module")
def mnist() -> Data:
    loaded = data.load("mnist")
    assert loaded.train is not None
    return Data("mnist", loaded.train.take(torch.arange(2400)), loaded.test.take(torch.arange(20)))


def own(side: int = 28, classes: int = 3) -> Data:
    x = torch.rand(6, 1, side, side, generator=torch.Generator().manual_seed(0))
    return Data("mnist", None, Images(x, torch.arange(6) % classes, tuple("abcdefghij"[:classes]), "mnist test"))


def test_the_classifier_that_ships_serves_unless_another_is_named(mnist: Data) -> None:
    pipeline = build(PipelineSpec(), mnist)
    assert (pipeline.name, pipeline.defence, pipeline.undefended) == ("mnist/cnn", "none", None)
    assert (pipeline.classes, pipeline.input_shape) == (mnist.test.classes, (1, 28, 28))
    assert torch.equal(pipeline(mnist.test.x), models.load("mnist/cnn")(mnist.test.x))


def test_a_defence_goes_in_front_fitted_to_the_images(mnist: Data) -> None:
    pipeline = build(PipelineSpec(defence="jpeg", settings={"quality": 50}), mnist)
    assert pipeline.defence == "jpeg:quality=50"
    assert isinstance(pipeline.purifier, defences.JPEG)
    assert pipeline.undefended is not None
    assert isinstance(build(PipelineSpec(defence="conv-autoencoder-pgd"), mnist).purifier, models.Resized)
    assert build(PipelineSpec(defence="none"), mnist).purifier is None


def test_a_detector_rejects_so_many_clean_images_beside_the_purifier_that_it_compares_with(mnist: Data) -> None:
    pipeline = build(PipelineSpec(detector="mnist/combined", fpr=0.1), mnist)
    assert (pipeline.defence, pipeline.purifier, pipeline.abstains) == ("rejecting by combined", None, True)
    assert [type(part).__name__ for part in pipeline.beside()] == ["UNetPurifier"]
    assert mnist.train is not None
    held = mnist.split(0)[1].x
    with torch.no_grad():
        assert 0.05 <= (pipeline(held).argmax(1) == 10).double().mean() <= 0.1


def test_a_saved_pipeline_is_a_model_like_any_other(mnist: Data, tmp_path: Path) -> None:
    defended = build(PipelineSpec(defence="bit-depth"), mnist)
    defended.save(tmp_path / "defended")
    found = build(PipelineSpec(model=str(tmp_path / "defended")), mnist)
    assert found.fingerprint().same(defended.fingerprint())
    with pytest.raises(
        InputError, match=r"expected no --defence for the pipeline in .*, which has its own \(bit-depth\)"
    ):
        build(PipelineSpec(model=str(tmp_path / "defended"), defence="jpeg"), mnist)
    with pytest.raises(InputError, match="expected no --weights"):
        build(PipelineSpec(model=str(tmp_path / "defended"), weights=tmp_path / "w.safetensors"), mnist)
    with pytest.raises(InputError, match=r"expected the 10 classes 0, 1, 2, … for mnist/cnn, .* got the 3 of a, b, c"):
        build(PipelineSpec(model=str(tmp_path / "defended")), own())
    build(PipelineSpec(), mnist).save(tmp_path / "bare")
    pipeline = build(PipelineSpec(model=str(tmp_path / "bare"), defence="median"), mnist)
    assert (pipeline.name, pipeline.defence) == ("mnist/cnn", "median")


def test_what_data_are_their_name_does_not_say(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected --model for mnist, as no classifier ships for it: .*--like mnist"):
        build(PipelineSpec(), own())
    weights.write(models.CNN(classes=3), tmp_path / "cnn.safetensors", {})
    parts = PipelineSpec(model="cnn", weights=tmp_path / "cnn.safetensors")
    assert build(parts, own()).name == "cnn"
    with pytest.raises(InputError, match="expected the name of a defence, got 'unet'"):
        build(parts.model_copy(update={"defence": "unet"}), own())
    with pytest.raises(InputError, match="expected training images in mnist, got a test split alone"):
        build(PipelineSpec(detector="mnist/combined"), data.load(own(classes=10), like="mnist"))


def test_a_network_of_one_size_is_resized_to(tmp_path: Path) -> None:
    weights.write(models.PaperVGG(classes=3), tmp_path / "vgg.safetensors", {})
    pipeline = build(PipelineSpec(model="paper_vgg", weights=tmp_path / "vgg.safetensors"), own())
    assert isinstance(pipeline.classifier, models.Resized)


def wrong() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 4))


def test_what_does_not_fit_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="expected --weights for cnn, which is untrained without"):
        build(PipelineSpec(model="cnn"), own())
    with pytest.raises(InputError, match=r"to take images \(1, 1, 28, 28\), but RuntimeError"):
        build(PipelineSpec(model=f"{__file__}:small"), own())
    with pytest.raises(InputError, match=r"expected logits \(1, 3\) of .*:wrong .*, got \(1, 4\)"):
        build(PipelineSpec(model=f"{__file__}:wrong"), own())
    with pytest.raises(InputError, match="which would run code"):
        build(PipelineSpec(model=f"{__file__}:wrong"), own(), code=False)
    assert isinstance(build(PipelineSpec(model=f"{__file__}:wrong"), own(classes=4)), Pipeline)


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
