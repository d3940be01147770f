"""Fitting classifiers and purifiers: one loop, its objectives, and recipes that work."""

from steelman.training.fit import Epoch, Examples, Objective, Observer, Progress, Recipe, fit, precision
from steelman.training.objectives import Classify, Purify, accuracy
from steelman.training.recipes import RECIPES, Trained, classifier, named, purifier, record, seeded

__all__ = [
    "RECIPES",
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
    "precision",
    "purifier",
    "record",
    "seeded",
]
