"""What tells two samples of scores apart: exact figures, with ties counted as they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from steelman.errors import InputError


def auc(clean: Tensor, attacked: Tensor) -> float:
    """Returns the chance that an attacked image scores above a clean one, a tie counting half: the area under the ROC.

    clean: (N,), attacked: (M,), scores.
    """
    return float(placements(clean, attacked)[0].mean())


def placements(clean: Tensor, attacked: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (M,) the share of clean scores below each attacked one, and (N,) of attacked ones above each clean one.

    A tie counts half.
    """
    clean, attacked = clean.double().contiguous(), attacked.double().contiguous()
    return _below(attacked, clean), 1 - _below(clean, attacked)


def _below(values: Tensor, others: Tensor) -> Tensor:
    ordered = others.sort().values
    under = torch.searchsorted(ordered, values)
    return (under + torch.searchsorted(ordered, values, right=True)).double() / (2 * len(others))


def curve(clean: Tensor, attacked: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the corners of the ROC, (false-positive rates, true-positive rates), from (0, 0) to (1, 1)."""
    steps = torch.cat([clean, attacked]).double().unique().flip(0)
    rates = [
        (len(side) - torch.searchsorted(side.double().sort().values, steps)).double() / len(side)
        for side in (clean, attacked)
    ]
    false, true = (torch.cat([rate.new_zeros(1), rate]) for rate in rates)
    return false, true


def threshold(clean: Tensor, fpr: float) -> float:
    """Returns the lowest threshold above which at most a share `fpr` of clean scores, (N,), lies.

    It stands halfway to the next score above where there is one, so that no clean score ties with it.
    Raises InputError for no scores, and for a share outside (0, 1).
    """
    if not (math.isfinite(fpr) and 0 < fpr < 1):
        raise InputError(f"expected fpr, the share of clean images to lose, inside (0, 1), got {fpr!r}: say 0.05")
    if not len(clean):
        raise InputError("expected clean validation images to set the threshold on, got none: give at least 1 / fpr")
    ordered = clean.double().sort(descending=True).values
    at = float(ordered[math.floor(fpr * len(ordered) + 1e-9)])
    above = ordered[ordered > at]
    return (at + float(above[-1])) / 2 if len(above) else math.nextafter(at, math.inf)
