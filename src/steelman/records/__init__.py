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
from steelman.records.pictures import Features, Layer, Picture
from steelman.records.presentation import Focus, Presentation, Section, SideBySide
from steelman.records.reading import build, read
from steelman.records.rows import WORST, Row

__all__ = [
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
    "Focus",
    "GradientKind",
    "Layer",
    "Picture",
    "Presentation",
    "Protocol",
    "Row",
    "Sample",
    "Section",
    "SideBySide",
    "Stage",
    "Trust",
    "Verdict",
    "build",
    "read",
]
