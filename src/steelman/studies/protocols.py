"""FGSM and PGD as the paper ran them, and with its mistakes mended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from steelman.attacks import Attack, Last, Worst, at_input, fgsm, pgd
from steelman.losses import margin, negative_logit
from steelman.norms import Linf
from steelman.threat import Threat
from steelman.victim import Mode


@dataclass(frozen=True)
class Protocol:
    """How a figure is measured.

    mode: of the classifier.  slots: images in it at once, None for what is fastest.
    """

    name: str
    mode: Mode
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

AS_PUBLISHED = Protocol("as-published", mode="train", slots=64)
"""Images of 32×32; batch statistics and dropout on, batches of 64; FGSM on the raw logit; PGD not clipped to [0, 1]."""

STATIC = Protocol("static", mode="eval", slots=None)
"""Evaluation mode, cross-entropy, every image inside ball and box; the attacker sees the classifier alone."""


def adaptive(eps: float) -> tuple[Attack, ...]:
    """Returns the attacks of the adaptive column, to be run through the whole pipeline, each on what survives.

    Steps of 2.5 eps / steps, so that every point of the ball can be reached from every other: 40 from the image on
    cross-entropy, then 20 from a random point on the margin.
    """
    return (
        pgd(Linf(eps), steps=40, size=2.5 * eps / 40, start=at_input),
        pgd(Linf(eps), steps=20, size=2.5 * eps / 20, loss=margin),
    )
