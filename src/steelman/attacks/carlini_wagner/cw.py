"""Carlini & Wagner's attacks, by norm."""

from __future__ import annotations

from steelman.attacks.attack import Attack
from steelman.attacks.carlini_wagner.cw_l0 import CarliniL0
from steelman.attacks.carlini_wagner.cw_l2 import CarliniL2
from steelman.attacks.carlini_wagner.cw_linf import CarliniLinf
from steelman.attacks.engine.goals import Confident, Goal, Nearest
from steelman.attacks.settings import count, positive, smallest
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import Ball
from steelman.threat import Threat


def cw(
    threat: Threat | Ball,
    *,
    searches: int = 9,
    steps: int = 1000,
    size: float | None = None,
    first: float | None = None,
    confidence: float = 0.0,
    checks: int = 10,
    warm: bool = True,
    targeted: bool = False,
) -> Attack:
    """Returns Carlini & Wagner's attack: the smallest change, by Adam on the distance and c times the missing margin.

    threat: L2, Linf or L0, whose radius is how far a change may go; any size unless told.
    searches: of c, for L2 alone; the others raise c where it does not suffice.  steps: of each search.
    size: Adam's learning rate; unless told the code's, .01, and .005 for Linf.
    first: the first c. Unless told, for L2 the one that a linear model with the same gradient would need, three times
    as large while the sample holds (the code's 1e-3, ten times as large, is first=1e-3); for Linf and L0 the code's
    1e-5 and 1e-3, twice as large.
    confidence: kappa, the margin to reach, in logits.
    checks: how often in a search it is given up if it no longer gets better; 0 for never.
    warm: for L2, whether a search starts where the last one ended, and none is begun once c is known to a tenth; False
    for the code's, from the clean image, all of them. The other norms' are warm in the code, too.
    Raises InputError for another norm.
    Source: Carlini & Wagner 2017, sections V-A (L2), VI-B (L0) and VI-C (Linf), with f6, and its code's numbers.
    Distances are measured in sides of the box. tanh reaches beyond the box, which stops it (see tanh_space); a sample
    gives its search up by itself, not with its batch; L0 counts every channel of a pixel.
    """
    threat = smallest(threat, "cw", "L2", "Linf", "L0")
    count(searches, "searches")
    count(steps)
    count(checks, "checks", 0)
    norm = threat.ball.name
    size = positive(size if size is not None else 0.005 if norm == "Linf" else 0.01, "size")
    if first is not None:
        positive(first, "first")
    rule: CarliniL2 | CarliniLinf | CarliniL0
    if norm == "L2":
        rule = CarliniL2(
            searches=searches,
            per_search=steps,
            size=size,
            first=first,
            factor=3.0 if first is None else 10.0,
            confidence=confidence,
            checks=checks,
            warm=warm,
        )
    elif norm == "Linf":
        rule = CarliniLinf(
            per_search=steps,
            size=size,
            first=first or 1e-5,
            factor=2.0,
            largest=20.0,
            shrink=0.9,
            least=1 / 256,
            confidence=confidence,
            checks=checks,
        )
    else:
        rule = CarliniL0(
            per_search=steps,
            size=size,
            first=first or 1e-3,
            factor=2.0,
            largest=2e6,
            confidence=confidence,
            checks=checks,
        )
    return Attack(name="cw", threat=threat, rule=rule, loss=margin, targeted=targeted, goal=goal_of(confidence))


def goal_of(confidence: float) -> Goal:
    """Returns the goal of an attack that must reach a margin of at least `confidence`, in logits.

    Raises InputError for a negative one.
    """
    if isinstance(confidence, bool) or not confidence >= 0:
        raise InputError(f"expected confidence as a number >= 0, got {confidence!r}")
    return Confident(float(confidence)) if confidence else Nearest()
