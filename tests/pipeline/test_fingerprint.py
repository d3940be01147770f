"""Two pipelines that could answer differently have two fingerprints; one has the same everywhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from steelman import defences, models
from steelman.defences import detectors
from steelman.defences.rejecting import Gate
from steelman.pipeline import Fingerprint, Pipeline, fingerprint

SHAPE = (1, 28, 28)


def seeded(make: Callable[..., nn.Module], **settings: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(**settings).eval()


def before(stage: nn.Module) -> Fingerprint:
    return Pipeline(bare(), purifier=stage, input_shape=SHAPE).fingerprint()


def bare() -> nn.Module:
    return seeded(models.CNN, width=4)


def test_settings_of_what_stands_around_or_beside_a_classifier_are_seen() -> None:
    plain = bare()
    prints = [
        fingerprint(plain, SHAPE),
        *(fingerprint(defences.Smoothed(plain, 0.25, draws=2, clip=clip).eval(), SHAPE) for clip in (False, True)),
        fingerprint(defences.Smoothed(plain, 0.26, draws=2).eval(), SHAPE),
        fingerprint(models.Resized(plain, 24), SHAPE),
        fingerprint(models.Resized(plain, 20), SHAPE),
    ]
    for threshold, detector in (
        (0.5, detectors.FeatureSqueezing(plain)),
        (0.6, detectors.FeatureSqueezing(plain)),
        (0.5, detectors.FeatureSqueezing(plain, bits=2)),
        (0.5, detectors.ReconstructionError(defences.BitDepth(1))),
        (0.5, detectors.ReconstructionError(defences.BitDepth(2))),
        (0.5, detectors.ReconstructionError(defences.BitDepth(2), p=1)),
    ):
        prints.append(Pipeline(plain, detector=Gate(detector, threshold), input_shape=SHAPE).fingerprint())
    assert all(one.same(other) == (one is other) for one in prints for other in prints)
    assert len({one.sha256 for one in prints}) == len(prints)


def test_one_weight_and_one_buffer_are_seen() -> None:
    once = fingerprint(bare(), SHAPE)
    for change in ("head.weight", "stem.1.running_mean"):
        model = bare()
        model.state_dict()[change].view(-1)[0] += 1e-6
        assert fingerprint(model, SHAPE).sha256 != once.sha256


class Mine(nn.Module):
    """A stranger's module: settings as plain attributes, nested, in functions and in a list of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = 0.5
        self.names = ["a", ("b", 2)]
        self.hidden = [nn.Linear(1, 1)]
        self.table = {"k": torch.zeros(2)}
        self.squeeze = partial(torch.clamp, max=0.9)
        factor = 2.0
        self.outer = lambda x: x * factor
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(1))
        return out


def _change(module: nn.Module, path: str, value: object) -> None:
    setattr(module, path, value)


CHANGES = {
    "number": lambda m: _change(m, "strength", 0.25),
    "whole number": lambda m: _change(m, "strength", 1),
    "list": lambda m: _change(m, "names", ["a", ("b", 3)]),
    "watched": lambda m: m.hidden[0].weight.data.add_(1),
    "tensor": lambda m: m.table["k"].add_(1),
    "partial": lambda m: _change(m, "squeeze", partial(torch.clamp, max=0.8)),
    "closure": lambda m: _change(m, "outer", (lambda factor: lambda x: x * factor)(3.0)),
    "new": lambda m: _change(m, "more", True),
    "activation": lambda m: m.add_module("relu", nn.ReLU()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_strangers_module_holds_is_seen(change: str) -> None:
    model = seeded(Mine)
    once = fingerprint(model, (1, 2, 2))
    assert once == fingerprint(model, (1, 2, 2)) == fingerprint(copy.deepcopy(model), (1, 2, 2))
    CHANGES[change](model)
    assert fingerprint(model, (1, 2, 2)).sha256 != once.sha256


def test_another_forward_is_seen_by_its_answers_and_rounding_is_not() -> None:
    class Other(Mine):
        def forward(self, x: Tensor) -> Tensor:
            return 1.01 * super().forward(x)

    Other.__qualname__ = Mine.__qualname__
    once, other = (found_alone(kind) for kind in (Mine, Other))
    assert not once.same(other)
    largest = max(abs(value) for row in once.answers for value in row)
    for share, same in ((5e-4, True), (5e-3, False)):
        moved = replace(once, answers=tuple(tuple(value + share * largest for value in row) for row in once.answers))
        assert once.same(moved) == moved.same(once) == same
    assert not once.same(replace(once, answers=once.answers[:-1]))


def found_alone(kind: type[nn.Module]) -> Fingerprint:
    """Of the same layers whatever else a closure's class is called."""
    model = seeded(kind)
    del model.outer
    return fingerprint(model, (1, 2, 2))


def test_class_names_and_shape_belong_to_a_pipeline_its_own_name_does_not() -> None:
    def of(**about: object) -> str:
        return Pipeline(bare(), **{"classes": ("a", "b"), "input_shape": SHAPE, **about}).fingerprint().sha256

    assert of() == of(name="another", defence="other")
    assert len({of(), of(classes=("b", "a")), of(input_shape=(1, 24, 24))}) == 3


def test_it_goes_through_json_and_takes_the_layout_for_no_difference() -> None:
    once = fingerprint(bare(), SHAPE)
    assert Fingerprint.from_dict(json.loads(json.dumps(once.to_dict()))) == once
    last = bare().to(memory_format=torch.channels_last)
    assert fingerprint(last, SHAPE).same(once)


def test_a_random_pipeline_has_one_fingerprint() -> None:
    assert before(seeded(defences.RandomResizePad)) == before(seeded(defences.RandomResizePad))
