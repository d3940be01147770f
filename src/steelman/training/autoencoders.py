"""Whole trainings of auto-encoders that clean images alone would do for: PuVAE, and MagNet's reformer."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from steelman import weights
from steelman.attacks import Last, Worst, at_input, fgsm, pgd
from steelman.data import Data
from steelman.defences import PuVAE, Reformer
from steelman.norms import Linf
from steelman.progress import OnProgress
from steelman.training.objectives.purify import Purify
from steelman.training.objectives.reconstruct import Reconstruct
from steelman.training.objectives.vae import Variational
from steelman.training.recipe import Recipe
from steelman.training.recipes import MAGNET, PUVAE
from steelman.training.trained import Trained, fitted

_JUDGED = 1000


def puvae(
    model: PuVAE,
    classifier: nn.Module,
    data: Data,
    *,
    recipe: Recipe = PUVAE,
    attacked: bool = False,
    steps: int = 3,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns a PuVAE trained before a frozen classifier, 1/12 of whose training images only validate.

    classifier: what reads its reconstructions while it learns, and judges epochs behind it, clean, under FGSM and
    under PGD; never trained.
    attacked: ours. The encoder is shown what FGSM and PGD of every eps make of the images, on the classifier alone;
    reconstruction and divergence weigh the same, as in a plain evidence bound, the reading 1, and so does that the
    nearest reconstruction is of the right class. Without, the paper's way: clean images, and its weights.
    steps: of the PGD that it is then shown.
    Source: Hwang et al. 2019 (PuVAE); the recipe is ours.
    """
    classifier = classifier.to(device).eval().requires_grad_(False)
    shown = (
        (fgsm(Linf(0.0)).with_goal(Last()), 0.9),
        (pgd(Linf(0.0), steps=steps, start=at_input).with_goal(Last()), 0.35),
    )
    judges = (
        fgsm(Linf(0.3)).with_goal(Last()),
        fgsm(Linf(0.6)).with_goal(Last()),
        pgd(Linf(0.15), size=0.01, start=at_input).with_goal(Worst()),
    )
    purify = Purify(classifier=classifier, attacks=shown if attacked else (), val=judges)
    ours = Variational(purify=purify, divergence=0.01, reading=1.0, choosing=1.0)
    objective = ours if attacked else Variational(purify=purify)
    metadata = {"defence": "puvae", "classifier": weights.digest(classifier)}
    return fitted(
        model,
        objective,
        data,
        recipe,
        metadata,
        judged=_JUDGED,
        checkpoint=checkpoint,
        device=device,
        progress=progress,
    )


def magnet(
    model: Reformer,
    data: Data,
    *,
    recipe: Recipe = MAGNET,
    noise: float = 0.1,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns MagNet's reformer trained on clean images and Gaussian noise alone, 1/12 of which only validate.

    noise: its standard deviation.
    Source: Meng & Chen 2017 (MagNet), with the numbers of the authors' code for MNIST.
    """
    objective = Reconstruct(noise=noise)
    metadata = {"defence": "magnet"}
    return fitted(model, objective, data, recipe, metadata, checkpoint=checkpoint, device=device, progress=progress)
