"""What is minimised: a classifier on labels, on images or on what an attack makes of them, and a purifier."""

from steelman.training.objectives.adversarial import Adversarial
from steelman.training.objectives.classify import Classify, accuracy
from steelman.training.objectives.purify import Purify

__all__ = ["Adversarial", "Classify", "Purify", "accuracy"]
