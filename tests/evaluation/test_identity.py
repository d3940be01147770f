"""A run goes on only as the run that it was: with one thing changed it is refused, in one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from steelman import attacks, defences, models
from steelman.data import Images
from steelman.defences import detectors
from steelman.defences.rejecting import Gate
from steelman.errors import InputError
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import EvaluationOptions
from steelman.evaluation.storing.runs import cases
from steelman.norms import Linf
from steelman.pipeline import Pipeline
from steelman.version import VERSION

SHAPE = (1, 28, 28)

SMALL = {"side": 28, "width": 4}
SETTINGS = [
    (defences.BitDepth, {}, {"bits": 2}),
    (defences.MedianSmoothing, {}, {"size": 3}),
    (defences.RandomResizePad, {}, {"ratio": 1.2}),
    (defences.JPEG, {}, {"quality": 74}),
    (defences.JPEG, {}, {"gradient": "soft"}),
    (defences.DifferentiableJPEG, {}, {"quality": 74}),
    (defences.DifferentiableJPEG, {}, {"rounding": "straight-through"}),
    (defences.TotalVariation, {}, {"weight": 0.031}),
    (defences.DefenseGAN, SMALL | {"steps": 5, "starts": 2}, {"steps": 6}),
    (defences.DefenseGAN, SMALL | {"steps": 5, "starts": 2}, {"gradient": "unrolled"}),
    (defences.PuVAE, SMALL, {"temperature": 0.02}),
    (defences.PuVAE, SMALL, {"choice": "marginal"}),
    (defences.BayesianAutoencoder, {"width": 4, "code": 4, "depth": 1}, {"noise": 0.2}),
    (defences.CertifiedAutoencoder, SMALL | {"classes": 3}, {"lead": 0.2}),
    (defences.CertifiedAutoencoder, SMALL | {"classes": 3}, {"trace": 1e-3}),
    (defences.RobustAutoencoder, SMALL, {"style": 25}),
    (defences.ConvAutoencoder, {}, {"noise": 0.5}),
    (defences.UNetPurifier, {"width": 4, "code": 4, "depth": 1}, {"noise": 0.2}),
]


def seeded(make: Callable[..., nn.Module], **settings: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(**settings).eval()


def bare() -> nn.Module:
    return seeded(models.CNN, width=4, classes=3)


def noise(n: int = 6) -> Images:
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Images(x, torch.arange(n) % 3, ("a", "b", "c"), "noise test")


@dataclass(frozen=True)
class Job:
    """What a run is called with."""

    pipeline: Pipeline
    images: Images = field(default_factory=noise)
    attack: Any = field(default_factory=lambda: attacks.fgsm(Linf(0.01)))

    def __call__(self, folder: Path) -> object:
        plain = EvaluationOptions(certify=False, curve=False, check=False, pictures=0)
        return evaluate(self.pipeline, self.images, self.attack, plain, folder=folder)


def refused(folder: Path, job: Job, what: str) -> None:
    with pytest.raises(InputError, match=rf"^expected the run that .* holds, got another {what} \(") as told:
        job(folder)
    assert "\n" not in str(told.value)
    assert "--fresh" in str(told.value)


def before(kind: type[nn.Module], **settings: object) -> Job:
    return Job(Pipeline(bare(), purifier=models.fitted(seeded(kind, **settings), SHAPE)))


@pytest.mark.parametrize(("kind", "settings", "change"), SETTINGS, ids=lambda value: getattr(value, "__name__", None))
def test_every_setting_of_every_stage_belongs_to_a_run(
    tmp_path: Path, kind: type[nn.Module], settings: dict[str, object], change: dict[str, object]
) -> None:
    before(kind, **settings)(tmp_path)
    before(kind, **settings)(tmp_path)
    refused(tmp_path, before(kind, **{**settings, **change}), "pipeline")


class Louder(models.CNN):
    """The same layers and settings, another forward."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.01 * super().forward(x)


Louder.__qualname__ = models.CNN.__qualname__


def one_weight() -> nn.Module:
    model = bare()
    model.state_dict()["head.weight"][0, 0] += 1e-6
    return model


def rejecting(threshold: float = 0.5, p: int = 2) -> Pipeline:
    return Pipeline(bare(), detector=Gate(detectors.ReconstructionError(defences.BitDepth(2), p=p), threshold))


def one_pixel() -> Images:
    images = noise()
    images.images[3, 0, 14, 14] += 1e-3
    return images


def crafted(surrogate: nn.Module) -> Any:
    return attacks.transfer(attacks.fgsm(Linf(0.01)), surrogate, called="another")


START = Job(Pipeline(bare(), purifier=defences.BitDepth(4)))
CHANGES = {
    "weight": (START, replace(START, pipeline=Pipeline(one_weight(), purifier=defences.BitDepth(4))), "pipeline"),
    "forward": (
        START,
        replace(START, pipeline=Pipeline(seeded(Louder, width=4, classes=3), purifier=defences.BitDepth(4))),
        "pipeline",
    ),
    "order": (START, replace(START, pipeline=Pipeline(bare(), preprocess=defences.BitDepth(4))), "pipeline"),
    "threshold": (Job(rejecting()), Job(rejecting(0.6)), "pipeline"),
    "detector": (Job(rejecting()), Job(rejecting(p=1)), "pipeline"),
    "smoothing": (
        Job(Pipeline(defences.Smoothed(bare(), 0.25, draws=2).eval())),
        Job(Pipeline(defences.Smoothed(bare(), 0.25, draws=2, clip=True).eval())),
        "pipeline",
    ),
    "class names": (START, replace(START, images=replace(noise(), classes=("a", "b", "d"))), "classes"),
    "pixel": (START, replace(START, images=one_pixel()), "images"),
    "label": (START, replace(START, images=replace(noise(), labels=1 - noise().labels % 2)), "labels"),
    "attack": (START, replace(START, attack=attacks.fgsm(Linf(0.02))), "attacks"),
    "surrogate": (
        replace(START, attack=crafted(bare())),
        replace(START, attack=crafted(one_weight())),
        "surrogates",
    ),
    "surrogate's forward": (
        replace(START, attack=crafted(bare())),
        replace(START, attack=crafted(seeded(Louder, width=4, classes=3))),
        "surrogates",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_with_one_thing_changed_it_is_another_run(tmp_path: Path, change: str) -> None:
    first, other, what = CHANGES[change]
    first(tmp_path)
    first(tmp_path)
    refused(tmp_path, other, what)


def test_another_name_and_rounding_are_no_other_run(tmp_path: Path) -> None:
    START(tmp_path)
    renamed = Pipeline(bare(), purifier=defences.BitDepth(4), name="mine", defence="bits")
    replace(START, pipeline=renamed)(tmp_path)
    with sqlite3.connect(tmp_path / "run.sqlite") as db:
        (said,) = db.execute("select value from about where key = 'pipeline'").fetchone()
        answer = said.split("[[")[1].split(",")[0]
        db.execute(
            "update about set value = ? where key = 'pipeline'", (said.replace(answer, str(float(answer) + 1e-5)),)
        )
    START(tmp_path)


def test_a_run_of_the_earlier_schema_is_refused_with_who_wrote_it(tmp_path: Path) -> None:
    START(tmp_path)
    with sqlite3.connect(tmp_path / "run.sqlite") as db:
        db.execute("pragma user_version = 1")
    wrote = f"which steelman {VERSION} up to commit f1ba80d wrote"
    for job in (lambda: START(tmp_path), lambda: cases(tmp_path)):
        with pytest.raises(InputError, match=rf"schema 2 in .*, got schema 1, {wrote}: read it"):
            job()


def test_the_networks_that_an_attack_holds_are_found_in_a_cascade_too(tmp_path: Path) -> None:
    cascade = attacks.Cascade(name="two", threat=attacks.fgsm(Linf(0.01)).threat, attacks=(crafted(bare()),))
    changed = replace(cascade, attacks=(crafted(one_weight()),))
    replace(START, attack=cascade)(tmp_path)
    refused(tmp_path, replace(START, attack=changed), "surrogates")
    assert torch.is_grad_enabled()
