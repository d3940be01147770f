"""A pipeline is one value: it answers as its parts do, knows them, and leaves them as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from steelman import defences, models
from steelman.defences.rejecting import Gate, Rejecting
from steelman.errors import InputError
from steelman.evaluation.planning.attacker import probe_pipeline
from steelman.pipeline import Pipeline, wrapped
from steelman.victim import abstains


class Brightness(nn.Module):
    """A detector: the mean pixel."""

    def score(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1)


class Scale(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) / 0.25


def classifier() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()


def batch(n: int = 6) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_an_image_goes_through_purifier_preprocessing_and_classifier() -> None:
    purifier, bare, x = defences.BitDepth(bits=1), classifier(), batch()
    pipeline = Pipeline(bare, purifier=purifier, preprocess=Scale())
    assert torch.equal(pipeline(x), bare(Scale()(purifier(x))))
    assert [name for name, _ in pipeline.stages()] == ["purifier", "preprocess", "classifier"]
    assert pipeline.undefended is not None
    assert torch.equal(pipeline.undefended(x), bare(Scale()(x)))
    assert pipeline.undefended.undefended is None
    assert Pipeline(bare).undefended is None


def test_a_detector_looks_at_the_image_as_it_came_and_its_logit_comes_last() -> None:
    bare, gate, x = classifier(), Gate(Brightness(), 0.5, 0.1), batch(20)
    pipeline = Pipeline(bare, purifier=defences.BitDepth(bits=1), detector=gate)
    assert abstains(pipeline)
    assert not abstains(Pipeline(bare))
    assert torch.equal(pipeline(x).argmax(1) == 3, x.flatten(1).mean(1) > 0.5)
    assert torch.equal(Pipeline(bare, detector=gate)(x), Rejecting(bare, gate)(x))
    with pytest.raises(InputError, match="expected no detector beside a classifier that abstains"):
        Pipeline(Rejecting(bare, gate), detector=gate)


def test_who_is_put_together_or_read_keeps_its_mode() -> None:
    bare, purifier = classifier(), defences.UNetPurifier(width=4, code=4, depth=1).train()
    pipeline = Pipeline(bare, purifier=purifier, classes=("a", "b", "c"), input_shape=(1, 8, 8))
    assert (pipeline.training, bare.training, purifier.training) == (False, False, True)
    before = torch.get_rng_state()
    _ = pipeline.stages(), pipeline.undefended, pipeline.abstains, pipeline.fingerprint()
    assert purifier.training
    assert all(value.requires_grad and value.grad is None for value in pipeline.parameters())
    assert torch.equal(before, torch.get_rng_state())


def test_the_attacker_probes_the_parts_of_a_pipeline_as_those_of_a_sequence() -> None:
    bare, purifier, x = classifier(), nn.Threshold(2.0, 0.0), batch()
    y = torch.zeros(len(x), dtype=torch.int64)
    ours, theirs = (
        probe_pipeline(one, x, y) for one in (Pipeline(bare, purifier=purifier), defences.guard(purifier, bare))
    )
    assert [stage.name for stage in ours.stages] == ["purifier (Threshold)", "classifier (Sequential)"]
    assert [stage.gradient for stage in ours.stages] == [stage.gradient for stage in theirs.stages] == ["zero", "exact"]
    assert [path.title for path in ours.paths] == ["BPDA: purifier (Threshold) as the identity"]
    x = x.requires_grad_()
    slopes = [torch.autograd.grad(one.paths[0].model(x).sum(), x)[0] for one in (ours, theirs)]
    assert torch.equal(*slopes)
    assert slopes[0].any()


def test_a_detector_without_a_gradient_is_said_and_takes_no_path_away() -> None:
    class Rounded(Brightness):
        def score(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1).mean(1)

    pipeline = Pipeline(classifier(), detector=Gate(Rounded()))
    attacker = probe_pipeline(pipeline, batch(), torch.zeros(6, dtype=torch.int64))
    assert {stage.name: stage.gradient for stage in attacker.stages}["detector (Gate)"] == "none"
    assert [path.title for path in attacker.paths] == ["the whole pipeline"]


def test_other_images_and_classes_in_another_order_are_one_clear_line() -> None:
    pipeline = Pipeline(classifier(), classes=("a", "b", "c"), input_shape=(1, 8, 8), name="mine")
    pipeline.check((1, 8, 8), ("a", "b", "c"))
    pipeline.check((1, 8, 8), ("x", "y", "z"))
    Pipeline(classifier()).check((3, 9, 9), ("b", "a"))
    with pytest.raises(InputError, match=r"expected images \(1, 8, 8\) for mine, got \(1, 9, 8\)"):
        pipeline.check((1, 9, 8), ("a", "b", "c"))
    for classes in (("c", "b", "a"), ("a", "b")):
        with pytest.raises(InputError, match="expected the 3 classes a, b, c for mine, in this order, got the"):
            pipeline.check((1, 8, 8), classes)


def test_a_guarded_or_rejecting_classifier_is_taken_apart() -> None:
    bare, purifier, gate = classifier(), Scale(), Gate(Brightness())
    found = wrapped(defences.guard(purifier, bare), bare, name="mine")
    assert (found.purifier, found.classifier, found.name) == (purifier, bare, "mine")
    found = wrapped(Rejecting(bare, gate), bare)
    assert (found.detector, found.classifier) == (gate, bare)
    assert wrapped(found) is found
    assert wrapped(defences.guard(purifier, bare)).undefended is None


def test_a_module_that_takes_one_size_alone_is_fitted_to_images() -> None:
    for module, side in ((models.VGG16(), 32), (defences.ConvAutoencoder(), 32), (defences.PuVAE(), 28)):
        assert models.fitted(module, (1, side, side)) is module
        resized = models.fitted(module, (1, 40, 36))
        assert isinstance(resized, models.Resized)
        assert resized.size == side
    network = models.CNN()
    assert models.fitted(network, (1, 40, 36)) is network
