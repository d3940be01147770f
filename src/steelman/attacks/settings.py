"""What every recipe asks of its settings, at the door."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from steelman.errors import InputError
from steelman.norms import Ball, Radius
from steelman.threat import Threat


def inside(threat: Threat | Ball, name: str, *norms: str) -> Threat:
    """Returns the threat of an attack that works inside a budget.

    norms: the names of those that its paper has; any unless told.
    Raises InputError for another norm, or for a ball without a radius.
    """
    threat = smallest(threat, name, *norms)
    if not math.isfinite(largest(threat.eps)):
        ball = threat.ball.name
        raise InputError(f"expected a radius for {name}, which works inside a budget, got {ball}(): say {ball}(eps)")
    return threat


def smallest(threat: Threat | Ball, name: str, *norms: str) -> Threat:
    """Returns the threat of an attack that looks for the smallest change; its radius is how far a change may go.

    norms: the names of those that its paper has; any unless told.
    Raises InputError for another norm.
    """
    threat = Threat.of(threat)
    if norms and threat.ball.name not in norms:
        raise InputError(f"expected {' or '.join(norms)} for {name}, as its paper has, got {threat.ball.name}")
    return threat


def largest(eps: Radius) -> float:
    """Returns the largest radius of all samples."""
    return float(eps.max()) if isinstance(eps, Tensor) else float(eps)


def count(value: int, what: str = "steps", least: int = 1) -> int:
    """Returns a whole number as it is.

    Raises InputError for another, or one below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"expected {what} as a whole number >= {least}, got {value!r}")
    return value


def positive(value: float, what: str) -> float:
    """Returns a number above zero as it is.

    Raises InputError for another.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0 or not math.isfinite(value):
        raise InputError(f"expected {what} as a number > 0, got {value!r}")
    return float(value)


def not_negative(value: float, what: str) -> float:
    """Returns a number from zero up as it is.

    Raises InputError for another.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(f"expected {what} as a number >= 0, got {value!r}")
    return float(value)


def share(value: float, what: str) -> float:
    """Returns a number in [0, 1] as it is.

    Raises InputError for another.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"expected {what} as a number in [0, 1], got {value!r}")
    return float(value)


def fraction(value: float, what: str) -> float:
    """Returns a number strictly between 0 and 1 as it is.

    Raises InputError for another.
    """
    if not 0 < share(value, what) < 1:
        raise InputError(f"expected {what} above 0 and below 1, got {value!r}")
    return float(value)


def column(value: Tensor, like: Tensor) -> Tensor:
    """Returns (N,) as (N, 1, …) that broadcasts against `like`, (N, *S), of its type."""
    return value.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


def where(chosen: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Returns, sample by sample, `one` where chosen, (N,) bool, and `other` elsewhere; both (N, …)."""
    return torch.where(chosen.view(-1, *[1] * (one.dim() - 1)), one, other)
