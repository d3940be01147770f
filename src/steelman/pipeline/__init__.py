"""A pipeline as one value: preprocessing, purifier, classifier, detector, class names and input shape."""

from steelman.pipeline.building import Described, build, tried
from steelman.pipeline.fingerprint import Fingerprint, fingerprint
from steelman.pipeline.module import Pipeline, wrapped

__all__ = ["Described", "Fingerprint", "Pipeline", "build", "fingerprint", "tried", "wrapped"]
