"""Fitting classifiers and purifiers: one loop, its objectives, and recipes that work."""

from steelman.training.checkpoint import Epoch, Examples
from steelman.training.classifiers import classifier, robust
from steelman.training.fit import Objective, Observer, Progress, fit
from steelman.training.objectives import Adversarial, Classify, Purify, accuracy
from steelman.training.purifiers import purifier
from steelman.training.recipe import Recipe
from steelman.training.recipes import RECIPES, named
from steelman.training.seeding import seeded
from steelman.training.trained import Trained, record, split

__all__ = [
    "RECIPES",
    "Adversarial",
    "Classify",
    "Epoch",
    "Examples",
    "Objective",
    "Observer",
    "Progress",
    "Purify",
    "Recipe",
    "Trained",
    "accuracy",
    "classifier",
    "fit",
    "named",
    "purifier",
    "record",
    "robust",
    "seeded",
    "split",
]
