"""Defences known to be broken, and classifiers known to be sound: what an evaluation is tried on."""

from .catalogue import zoo
from .specimen import Specimen

__all__ = ["Specimen", "zoo"]
