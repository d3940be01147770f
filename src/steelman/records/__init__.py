"""What a measurement found, as plain records: no torch here, so that a report can be drawn anywhere."""

from steelman.records.cases import (
    Breaker,
    Case,
    CertifiedInterval,
    Check,
    Curve,
    Sample,
    Stage,
    Verdict,
)
from steelman.records.detections import Detection
from steelman.records.evaluation import SCHEMA, Evaluation
from steelman.records.kinds import CheckOutcome, Fate, GradientKind, Protocol, Trust
from steelman.records.pictures import OURS, PAPERS, Features, Layer, Picture
from steelman.records.reading import build, read
from steelman.records.rows import NEVER_SEEN, WORST, Row

__all__ = [
    "NEVER_SEEN",
    "OURS",
    "PAPERS",
    "SCHEMA",
    "WORST",
    "Breaker",
    "Case",
    "CertifiedInterval",
    "Check",
    "CheckOutcome",
    "Curve",
    "Detection",
    "Evaluation",
    "Fate",
    "Features",
    "GradientKind",
    "Layer",
    "Picture",
    "Protocol",
    "Row",
    "Sample",
    "Stage",
    "Trust",
    "Verdict",
    "build",
    "read",
]
