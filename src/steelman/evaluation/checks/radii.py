"""How accuracy changes with eps, far beyond what the figure is about."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import torch

from steelman.attacks import Cascade, catalogue, standard
from steelman.attacks.settings import largest
from steelman.errors import InputError
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.recheck import first, iterated, percent, rarely, way
from steelman.evaluation.checks.trust_check import failed, passed
from steelman.evaluation.intervals import clopper_pearson
from steelman.records import Trust
from steelman.threat import Threat
from steelman.victim import abstains

_UNLIKELY = 0.01
_SLACK = 0.05


def over_eps(context: CheckContext) -> Finding:
    """Returns whether accuracy rises with eps, or falls nowhere; each radius is attacked by itself.

    A rise is one that a sign test over the same images takes for no accident, p < .01. Below the figure's eps it says
    that the figure is inflated; above, only that the attack cannot be relied on.
    Source: Athalye et al. 2018 (Obfuscated gradients), section 3.1.
    """
    way(context)
    rows = first(context, 48)
    eps, end = largest(context.threat.eps), all_alike(context)
    radii = [eps * factor for factor in (0.25, 0.5, 1.0, 2.0)]
    radii += [end] if end > radii[-1] else []
    attacks = [iterated(context.threat.at(radius), steps=20) for radius in radii]
    holds = torch.stack([~context.attacked(attack, rows).broken for attack in attacks])
    accuracies = ", ".join(
        f"{float(hold.double().mean()):.2f} at {radius:.3g}" for radius, hold in zip(radii, holds, strict=True)
    )
    message = f"PGD made anew at each eps on {len(rows)} images leaves {accuracies}."
    rises = [
        at + 1
        for at, (near, far) in enumerate(pairwise(holds))
        if _rises(int((far & ~near).sum()), int((near & ~far).sum()))
    ]
    if bool(holds.all()):
        return failed(f"{message} It falls nowhere.")
    if rises:
        return failed(f"{message} It rises.", on_fail=Trust.INFLATED if radii[rises[0]] <= eps else Trust.CANNOT_TELL)
    return passed(message)


def chance(context: CheckContext) -> Finding:
    """Returns whether accuracy comes down to the largest class's share where every image can become the same grey one.

    That holds of any model that answers the same to the same image. The attack is the first climbs of `standard`.
    Source: Athalye et al. 2018 (Obfuscated gradients), section 3.1, for unbounded attacks.
    """
    held, tried, eps = _held(context, all_alike(context))
    message = f"At eps {eps:.3g} {held} of {tried} images hold, where the largest class has {percent(context.largest)}."
    low, _ = clopper_pearson(held, tried)
    return failed(message) if low > context.largest else passed(message)


def unbounded(context: CheckContext) -> Finding:
    """Returns whether an attack that may change an image into any other breaks all, but for one in twenty.

    Source: Carlini et al. 2019 (On evaluating adversarial robustness), section 4.
    """
    held, tried, eps = _held(context, 2 * all_alike(context))
    message = f"At eps {eps:.3g}, which allows any image, {held} of {tried} hold."
    low, _ = clopper_pearson(held, tried)
    return failed(message) if low > _SLACK else passed(message)


def all_alike(context: CheckContext) -> float:
    """Returns the radius within which every image of the box can become the one in its middle.

    Raises InputError for a box without sides, or a norm of another kind.
    """
    ball, width = context.threat.ball, context.threat.high - context.threat.low
    if not math.isfinite(width) or ball.name not in catalogue["standard"].norms:
        raise InputError(f"there is no radius of {ball.name} at which all images can be alike")
    return ball.diameter(context.x.shape[1:].numel(), width / 2)


def _held(context: CheckContext, eps: float) -> tuple[int, int, float]:
    """How many of how many images hold at an eps, which is no smaller than the figure's."""
    way(context)
    if abstains(context.attacker.pipeline):
        raise InputError("a model that may abstain is right wherever it does")
    eps = max(eps, largest(context.threat.eps))
    rows = first(context, 32)
    result = context.attacked(_climbs(context.threat.at(eps)), rows)
    return int((~result.broken).sum()), len(rows), eps


def _climbs(threat: Threat) -> Cascade:
    """The parts of `standard` that are made on every image."""
    whole = standard(threat)
    first_parts = tuple(part for part, share in zip(whole.attacks, whole.near, strict=True) if share >= 1)
    return replace(whole, name="standard climbs", attacks=first_parts, near=())


def _rises(more: int, fewer: int) -> bool:
    return more > fewer and rarely(more, fewer) < _UNLIKELY
