"""FGSM and PGD as the paper ran them, and with its mistakes mended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from steelman.attacks import Attack, Last, Worst, at_input, fgsm, pgd
from steelman.losses import negative_logit
from steelman.norms import Linf
from steelman.threat import Threat
from steelman.victim import Mode


@dataclass(frozen=True)
class Protocol:
    """How a figure is measured.

    side: of the images in pixels, None for as they are.  mode: of the classifier.  slots: images in it at once.
    """

    name: str
    mode: Mode
    side: int | None
    slots: int | None

    def attack(self, name: str, eps: float) -> Attack:
        """Returns FGSM or PGD of this protocol."""
        return _ATTACKS[self.name, name](eps)


def _published_fgsm(eps: float) -> Attack:
    return fgsm(Linf(eps), loss=negative_logit).with_goal(Last())


def _published_pgd(eps: float) -> Attack:
    unboxed = Threat(Linf(eps), low=-math.inf, high=math.inf)
    return pgd(unboxed, steps=40, size=0.01, start=at_input).with_goal(Last())


def _static_fgsm(eps: float) -> Attack:
    return fgsm(Linf(eps)).with_goal(Last())


def _static_pgd(eps: float) -> Attack:
    return pgd(Linf(eps), steps=40, size=0.01, start=at_input).with_goal(Worst())


_ATTACKS: Mapping[tuple[str, str], Callable[[float], Attack]] = {
    ("as-published", "fgsm"): _published_fgsm,
    ("as-published", "pgd"): _published_pgd,
    ("static", "fgsm"): _static_fgsm,
    ("static", "pgd"): _static_pgd,
}

AS_PUBLISHED = Protocol("as-published", mode="train", side=32, slots=64)
"""Images of 32×32; batch statistics and dropout on, batches of 64; FGSM on the raw logit; PGD not clipped to [0, 1]."""

STATIC = Protocol("static", mode="eval", side=None, slots=None)
"""Evaluation mode, cross-entropy, every image inside ball and box; the attacker sees the classifier alone."""


def adaptive_pgd(eps: float) -> Attack:
    """Returns the attack of the adaptive column: PGD from two random starts, for the whole pipeline."""
    return pgd(Linf(eps), steps=40, restarts=2)
