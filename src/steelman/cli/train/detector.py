"""`steelman train detector`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli import bring

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Data, Images
    from steelman.training import Recipe, Trained
    from steelman.training.detectors import DetectorTrainingSet

HELP = "a detector of attacked images, on clean ones and on one attack"
EXAMPLES = ("steelman train detector --data mnist --defence unet --fitted-on fgsm --out runs/detector.safetensors",)


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    command.add_argument("--detector", default="combined", help="binary, mahalanobis, lid, … (combined)")
    add_fit(command)


def add_fit(command: argparse.ArgumentParser) -> None:
    """Adds the options that say beside what a detector stands and what it is fitted on."""
    command.add_argument("--classifier", help="that it watches, as in mnist/cnn")
    command.add_argument("--weights", type=Path, help="safetensors of that classifier, if none ship")
    command.add_argument("--defence", help="the purifier that it compares with, as in unet (the data set's unet)")
    command.add_argument("--fitted-on", default="fgsm", help="the one attack that it is fitted on (fgsm)")
    command.add_argument("--fitted-eps", type=float, nargs="+", help="radii of that attack (.05 .1 .2 .3 .45 .6)")
    command.add_argument("--fit-images", type=int, default=3000, help="clean training images that serve (3000)")


def named(options: argparse.Namespace) -> tuple[str, str]:
    """Returns what is trained, and the name of its recipe."""
    return options.detector, "detector"


def train(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    """Fits it."""
    from steelman import training
    from steelman.defences import detectors

    kind = detectors.catalogue.resolve(options.detector, code=True)
    classifier, purifier = beside(options, images.test)
    device = how["device"]
    material = prepared(options, images, classifier.to(device), recipe.seed, device)
    return training.detector(kind, classifier, images, material, purifier=purifier, recipe=recipe, **how)


def beside(options: argparse.Namespace, images: Images) -> tuple[nn.Module, nn.Module | None]:
    """Returns the classifier and the purifier that the options name."""
    from steelman import defences

    named = argparse.Namespace(model=options.classifier, weights=options.weights, device="cpu")
    classifier = bring.model(named, images)
    unet = "unet" if f"{images.id}/unet" in defences.shipped() else None
    return classifier, bring.defence(argparse.Namespace(defence=options.defence or unet), images)


def prepared(
    options: argparse.Namespace, images: Data, classifier: nn.Module, seed: int, device: str
) -> DetectorTrainingSet:
    """Returns what detectors are fitted on, as the options say."""
    from steelman.training.detectors import EPS, bench

    eps = options.fitted_eps or EPS
    given = {"attack": options.fitted_on, "eps": eps, "images": options.fit_images}
    return bench(classifier, images, seed=seed, device=device, **given)
