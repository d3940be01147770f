"""What a record may say where only a few answers are possible; the text of each stands in files as it is."""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """Who attacked, and how it was measured."""

    AS_PUBLISHED = "as-published"
    STATIC = "static"
    ADAPTIVE = "adaptive"
    CERTIFIED = "certified"


class GradientKind(StrEnum):
    """What comes back through a stage on most images: its own gradient, one that it declares, or nothing of use."""

    EXACT = "exact"
    BPDA = "BPDA"
    NONE = "none"
    ZERO = "zero"
    NAN = "NaN"

    @property
    def usable(self) -> bool:
        """Whether an attacker can climb it."""
        return self in (GradientKind.EXACT, GradientKind.BPDA)


class CheckOutcome(StrEnum):
    """How a trust check ended."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


class Trust(StrEnum):
    """Whether a figure can be trusted; one that is inflated is too high."""

    TRUSTED = "figure trusted"
    INFLATED = "figure inflated"
    CANNOT_TELL = "cannot tell"


class Fate(StrEnum):
    """What became of one image under one threat."""

    CERTIFIED = "certified"
    SURVIVED = "survived"
    BROKEN = "broken"
    MISCLASSIFIED = "misclassified"
