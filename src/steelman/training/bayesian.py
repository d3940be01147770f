"""The whole training of a Bayesian auto-encoder: `steelman train purifier --purifier bayesian-autoencoder`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from steelman import weights
from steelman.data import Data
from steelman.defences.bayesian import BayesianAutoencoder
from steelman.models import folded
from steelman.progress import OnProgress
from steelman.training.objectives.bayesian import PurifyMembers
from steelman.training.purifiers import of_every_eps
from steelman.training.recipe import Recipe
from steelman.training.recipes import BAYESIAN_AUTOENCODER
from steelman.training.trained import Trained, fitted


def bayesian_autoencoder(
    model: BayesianAutoencoder,
    classifier: nn.Module,
    data: Data,
    *,
    recipe: Recipe = BAYESIAN_AUTOENCODER,
    steps: int = 5,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns a Bayesian auto-encoder that holds before one classifier against FGSM and PGD of every eps at once.

    classifier: attacked and read, never trained.  steps: of the PGD that it trains on; it is judged on 40 of .01.
    The mean squared error weighs ten times as much as in `purifier`: so small members learn from it what to paint long
    before they learn it from the classifier's reading.
    """
    classifier = classifier.to(device).eval().requires_grad_(False)
    objective = PurifyMembers(purify=replace(of_every_eps(folded(classifier), steps), fidelity=40.0))
    metadata = {"defence": "bayesian-autoencoder", "classifier": weights.digest(classifier)}
    return fitted(
        model, objective, data, recipe, metadata, judged=500, checkpoint=checkpoint, device=device, progress=progress
    )
