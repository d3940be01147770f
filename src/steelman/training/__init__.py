"""Fitting classifiers and purifiers: one loop, its objectives, and recipes that work."""

from steelman.training.autoencoders import magnet, puvae
from steelman.training.bayesian import bayesian_autoencoder
from steelman.training.checkpoint import Epoch, Examples
from steelman.training.classifiers import classifier, robust
from steelman.training.conv_autoencoder import as_many_steps, conv_autoencoder
from steelman.training.cost import cost
from steelman.training.detectors import detector
from steelman.training.distilled import distilled
from steelman.training.fit import Objective, fit
from steelman.training.generators import defense_gan, defense_gan_encoder
from steelman.training.objectives import Adversarial, CertifiedLoss, Classify, EndToEndPurifierLoss, Purify, accuracy
from steelman.training.purifiers import certified_autoencoder, certify_prototypes, purifier, robust_autoencoder, through
from steelman.training.recipe import Recipe
from steelman.training.recipes import RECIPES, named
from steelman.training.seeding import seeded
from steelman.training.trained import Trained, record, train_or_load
from steelman.training.trainings import TRAININGS, PurifierTraining, training_of

__all__ = [
    "RECIPES",
    "TRAININGS",
    "Adversarial",
    "CertifiedLoss",
    "Classify",
    "EndToEndPurifierLoss",
    "Epoch",
    "Examples",
    "Objective",
    "PurifierTraining",
    "Purify",
    "Recipe",
    "Trained",
    "accuracy",
    "as_many_steps",
    "bayesian_autoencoder",
    "certified_autoencoder",
    "certify_prototypes",
    "classifier",
    "conv_autoencoder",
    "cost",
    "defense_gan",
    "defense_gan_encoder",
    "detector",
    "distilled",
    "fit",
    "magnet",
    "named",
    "purifier",
    "puvae",
    "record",
    "robust",
    "robust_autoencoder",
    "seeded",
    "through",
    "train_or_load",
    "training_of",
]
