"""Whole trainings of purifiers: what `steelman train purifier` runs."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from steelman import weights
from steelman.attacks import Last, Worst, at_input, fgsm, pgd
from steelman.data import Data
from steelman.norms import Linf
from steelman.training.fit import Observer
from steelman.training.objectives import Purify
from steelman.training.recipe import Recipe
from steelman.training.recipes import UNET
from steelman.training.trained import Trained, fitted


def of_every_eps(classifier: nn.Module, steps: int = 10) -> Purify:
    """Returns the objective of a purifier that is to hold against FGSM and PGD of every eps at once."""
    return Purify(
        classifier=classifier,
        attacks=(
            (fgsm(Linf(0.0)).with_goal(Last()), 1.2),
            (pgd(Linf(0.0), steps=steps, start=at_input).with_goal(Last()), 0.35),
        ),
        held=(
            fgsm(Linf(0.1)).with_goal(Worst()),
            fgsm(Linf(0.6)).with_goal(Worst()),
            pgd(Linf(0.05), size=0.01, start=at_input).with_goal(Worst()),
            pgd(Linf(0.15), size=0.01, start=at_input).with_goal(Worst()),
            pgd(Linf(0.3), size=0.01, start=at_input).with_goal(Worst()),
        ),
    )


def purifier(
    model: nn.Module,
    classifier: nn.Module,
    data: Data,
    *,
    name: str,
    recipe: Recipe = UNET,
    steps: int = 10,
    checkpoint: Path | None = None,
    device: str = "cpu",
    observe: Observer | None = None,
) -> Trained:
    """Returns a purifier that holds before one classifier against FGSM and PGD of every eps at once.

    classifier: attacked and read, never trained.  steps: of the PGD that it trains on; it is judged on 40 of .01.
    """
    classifier = classifier.to(device).eval().requires_grad_(False)
    objective = of_every_eps(classifier, steps)
    told = {"defence": name, "classifier": weights.digest(classifier)}
    return fitted(
        model, objective, data, recipe, told, judged=1000, checkpoint=checkpoint, device=device, observe=observe
    )
