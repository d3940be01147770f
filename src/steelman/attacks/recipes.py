"""The attacks by name: rules with their papers' numbers."""

from __future__ import annotations

import math

from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.rules import Fixed, OfEps, Start, Steepest, at_input, at_random
from steelman.errors import InputError
from steelman.losses import Loss, cross_entropy
from steelman.norms import Ball, Radius
from steelman.threat import Threat


def fgsm(threat: Threat | Ball, *, targeted: bool = False, loss: Loss = cross_entropy) -> Attack:
    """Returns the fast gradient sign method: one step of length eps from the clean image.

    threat: Linf as in the paper, or another ball, whose steepest move is then taken.
    Source: Goodfellow et al. 2015, section 4.
    """
    rule = Steepest(steps=1, size=OfEps(1.0), start_at=at_input)
    return Attack(name="fgsm", threat=Threat.of(threat), rule=rule, loss=loss, targeted=targeted)


def bim(
    threat: Threat | Ball,
    *,
    steps: int | None = None,
    size: float | None = None,
    targeted: bool = False,
    loss: Loss = cross_entropy,
) -> Attack:
    """Returns the basic iterative method: small steps from the clean image, each clipped to the threat.

    steps, size: the paper's unless told, which it gives for Linf: steps of one grey level (1/255 of the box) and
    min(eps + 4, 1.25 eps) of them, eps in grey levels. With one of them given, the other follows so that
    steps · size = eps.
    Raises InputError for another norm if neither is given.
    Source: Kurakin et al. 2017 (Adversarial examples in the physical world), section 2.2.
    """
    threat = Threat.of(threat)
    level = (threat.high - threat.low) / 255
    if steps is None and size is None:
        if threat.ball.name != "Linf" or not math.isfinite(level):
            raise InputError(
                f"expected steps or size for BIM with {threat.ball.name}: its paper has Linf on pixels alone"
            )
        levels = min(_largest(threat.eps), threat.high - threat.low) / level
        steps, size = max(1, math.ceil(min(levels + 4, 1.25 * levels) - 1e-4)), level
    elif steps is None:
        assert size is not None
        steps = max(1, math.ceil(_largest(threat.eps) / _positive("size", size) - 1e-4))
    rule = Steepest(steps=steps, size=Fixed(_positive("size", size)) if size is not None else OfEps(1 / _count(steps)))
    return Attack(name="bim", threat=threat, rule=rule, loss=loss, targeted=targeted)


def pgd(
    threat: Threat | Ball,
    *,
    steps: int = 40,
    size: float | None = None,
    restarts: int = 1,
    start: Start = at_random,
    targeted: bool = False,
    loss: Loss = cross_entropy,
) -> Attack:
    """Returns projected gradient descent: steepest ascent from a random point of the ball, begun again for what holds.

    size: of a step, in the images' units; unless told 4/3 eps / steps, the paper's .01 at its eps .3 and 40 steps. All
    of them together cannot cross the ball, so that for a size of one's own 2.5 eps / steps is a good beginning.
    start: at_random, or at_input, from which restarts are all alike.
    Source: Madry et al. 2018, section 5 (MNIST).
    """
    if start is at_input and restarts > 1:
        raise InputError(f"expected start=at_random with {restarts} restarts: from the input each is the same")
    schedule = Fixed(_positive("size", size)) if size is not None else OfEps(4 / (3 * _count(steps)))
    rule = Steepest(steps=_count(steps), size=schedule, start_at=start)
    return Attack(
        name="pgd",
        threat=Threat.of(threat),
        rule=rule,
        loss=loss,
        targeted=targeted,
        restarts=_count(restarts, "restarts"),
    )


def _largest(eps: Radius) -> float:
    """The largest radius; in single precision it is a little off, which the caller's ceiling must not see."""
    return float(eps.max()) if isinstance(eps, Tensor) else float(eps)


def _count(value: int, what: str = "steps") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"expected {what} as a whole number >= 1, got {value!r}")
    return value


def _positive(what: str, value: float) -> float:
    if not isinstance(value, int | float) or not value > 0 or not math.isfinite(value):
        raise InputError(f"expected {what} as a number > 0, got {value!r}")
    return float(value)
