"""What a measurement found, as plain records: no torch here, so that a report can be drawn anywhere."""

from steelman.records.cases import (
    Bracket,
    Breaker,
    Case,
    Check,
    Curve,
    Outcome,
    Sample,
    Stage,
    Verdict,
    Word,
)
from steelman.records.detections import Detection
from steelman.records.evaluation import SCHEMA, Evaluation, read
from steelman.records.pictures import OURS, PAPERS, Features, Layer, Picture
from steelman.records.rows import NEVER_SEEN, WORST, Row

__all__ = [
    "NEVER_SEEN",
    "OURS",
    "PAPERS",
    "SCHEMA",
    "WORST",
    "Bracket",
    "Breaker",
    "Case",
    "Check",
    "Curve",
    "Detection",
    "Evaluation",
    "Features",
    "Layer",
    "Outcome",
    "Picture",
    "Row",
    "Sample",
    "Stage",
    "Verdict",
    "Word",
    "read",
]
