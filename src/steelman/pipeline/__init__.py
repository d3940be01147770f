"""A pipeline as one value: preprocessing, purifier, classifier, detector, class names and input shape."""

from steelman.pipeline.building import Described, Parts, build, tried
from steelman.pipeline.fingerprint import Fingerprint, fingerprint
from steelman.pipeline.module import Pipeline, wrapped

__all__ = ["Described", "Fingerprint", "Parts", "Pipeline", "build", "fingerprint", "tried", "wrapped"]
