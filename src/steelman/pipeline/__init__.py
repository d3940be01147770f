"""A pipeline as one value: preprocessing, purifier, classifier, detector, class names and input shape."""

from steelman.pipeline.fingerprint import Fingerprint, fingerprint
from steelman.pipeline.module import Pipeline, wrapped

__all__ = ["Fingerprint", "Pipeline", "fingerprint", "wrapped"]
