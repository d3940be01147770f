"""What a measurement found, as plain records: no torch here, so that a report can be drawn anywhere."""

from steelman.evaluation.records.cases import (
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
from steelman.evaluation.records.detections import Detection
from steelman.evaluation.records.evaluation import SCHEMA, Evaluation, read
from steelman.evaluation.records.pictures import OURS, PAPERS, Features, Layer, Picture
from steelman.evaluation.records.rows import NEVER_SEEN, WORST, Row

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
