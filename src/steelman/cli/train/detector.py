"""`steelman train detector`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from steelman.cli import options

if TYPE_CHECKING:
    from torch import nn

    from steelman.cli.train.given import Given
    from steelman.data import Data
    from steelman.spec import PipelineSpec
    from steelman.training import Trained
    from steelman.training.detectors import DetectorTrainingSet

HELP = "a detector of attacked images, on clean ones and on one attack"
NAMED = "detector"
EXAMPLES = ("steelman train detector --data mnist --defence unet --fitted-on fgsm --out runs/detector.safetensors",)


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    command.add_argument("--detector", default="combined", help="binary, mahalanobis, lid, … (combined)")
    add_fit(command)


def add_fit(command: argparse.ArgumentParser) -> None:
    """Adds the options that say beside what a detector stands and what it is fitted on."""
    options.add_classifier(command, "that it watches")
    says = {"defence.name": "the purifier that it compares with, as in unet (the data set's unet)"}
    options.add(command, "defence.name", says=says)
    command.add_argument("--fitted-on", default="fgsm", help="the one attack that it is fitted on (fgsm)")
    eps = "radii of that attack (.05 .1 .2 .3 .45 .6)"
    command.add_argument("--fitted-eps", type=options.radius, nargs="+", help=eps)
    command.add_argument("--fit-images", type=int, default=3000, help="clean training images that serve (3000)")


def recipe(name: str) -> str:
    """Returns the recipe, one for all."""
    return "detector"


def train(given: Given, *, detector: str, **fitted: Any) -> Trained:
    """Fits it."""
    from steelman import training
    from steelman.defences import detectors

    kind = detectors.catalogue.resolve(detector, code=True)
    classifier, purifier = beside(given.spec.pipeline, given.images)
    device = given.how["device"]
    material = prepared(given.images, classifier.to(device), given.recipe.seed, device, **fitted)
    how = {"purifier": purifier, **given.fit}
    return training.detector(kind, classifier, given.images, material, **how)


def beside(spec: PipelineSpec, data: Data) -> tuple[nn.Module, nn.Module | None]:
    """Returns the classifier that a detector watches, and the purifier it compares with, else the data set's unet."""
    from steelman import defences
    from steelman.pipeline import build
    from steelman.pipeline.folders import reader

    if spec.defence is None and f"{data.id}/unet" in defences.shipped():
        spec = spec.model_copy(update={"defence": "unet"})
    pipeline = build(spec, data)
    return reader(pipeline.classifier, pipeline.preprocess), pipeline.purifier


def prepared(
    images: Data,
    classifier: nn.Module,
    seed: int,
    device: str,
    *,
    fitted_on: str,
    fitted_eps: list[float] | None,
    fit_images: int,
) -> DetectorTrainingSet:
    """Returns what detectors are fitted on, as the options say."""
    from steelman.training.detectors import EPS, bench

    how: dict[str, Any] = {"attack": fitted_on, "eps": fitted_eps or EPS, "images": fit_images}
    return bench(classifier, images, seed=seed, device=device, **how)
