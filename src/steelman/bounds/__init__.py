"""What a network can answer inside a ball: interval bounds, CROWN, and the certificates that they give."""

from steelman.bounds.certify import (
    METHODS,
    Bounds,
    Certificates,
    certify,
    crown,
    differences,
    interval,
    margins,
    supported,
)
from steelman.bounds.rules import RULES

__all__ = [
    "METHODS",
    "RULES",
    "Bounds",
    "Certificates",
    "certify",
    "crown",
    "differences",
    "interval",
    "margins",
    "supported",
]
