"""Which candidate of a sample is kept, and when the sample is done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor


class Finds(StrEnum):
    """What an attack looks for: any change within a radius, the smallest one, or one that no ball describes."""

    WITHIN = "within eps"
    NEAREST = "smallest"
    OUTSIDE = "outside every ball"


class Goal(Protocol):
    """Judges candidates: all arguments (N,), a margin is positive where the sample is broken."""

    @property
    def leaves(self) -> bool:
        """Whether a broken sample is done."""
        ...

    @property
    def spares(self) -> bool:
        """Whether a sample that is broken unattacked is left as it came."""
        ...

    @property
    def finds(self) -> Finds:
        """Whether any change within the radius will do, or the smallest is wanted."""
        ...

    def better(self, margin: Tensor, distance: Tensor, best_margin: Tensor, best_distance: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Break:
    """Breaks each sample and lets it go; of one that holds, keeps the candidate nearest to breaking."""

    leaves = True
    spares = True
    finds = Finds.WITHIN

    def better(self, margin: Tensor, distance: Tensor, best_margin: Tensor, best_distance: Tensor) -> Tensor:
        """Returns (N,) bool: whether a candidate replaces the best so far."""
        return margin > best_margin


@dataclass(frozen=True)
class First(Break):
    """Breaks each sample and lets it go, of a rule that moves ever farther: what breaks first is smallest."""

    finds = Finds.NEAREST


@dataclass(frozen=True)
class Worst:
    """Takes every step and keeps the largest margin."""

    leaves = False
    spares = False
    finds = Finds.WITHIN

    def better(self, margin: Tensor, distance: Tensor, best_margin: Tensor, best_distance: Tensor) -> Tensor:
        """Returns (N,) bool: whether a candidate replaces the best so far."""
        return margin > best_margin


@dataclass(frozen=True)
class Last:
    """Takes every step and keeps the last candidate, whatever it does."""

    leaves = False
    spares = False
    finds = Finds.WITHIN

    def better(self, margin: Tensor, distance: Tensor, best_margin: Tensor, best_distance: Tensor) -> Tensor:
        """Returns (N,) bool: whether a candidate replaces the best so far."""
        return torch.ones_like(margin, dtype=torch.bool)


@dataclass(frozen=True)
class Nearest:
    """Takes every step and keeps the smallest change that breaks; of one that holds, the largest margin."""

    leaves = False
    spares = True
    finds = Finds.NEAREST

    def better(self, margin: Tensor, distance: Tensor, best_margin: Tensor, best_distance: Tensor) -> Tensor:
        """Returns (N,) bool: whether a candidate replaces the best so far."""
        broken, before = margin > 0, best_margin > 0
        return (broken & ~before) | (broken & before & (distance < best_distance)) | (~before & (margin > best_margin))


@dataclass(frozen=True)
class Confident:
    """Takes every step and keeps the smallest change that breaks by a margin; until one does, the largest margin.

    least: the margin to reach, in logits.
    """

    least: float

    leaves = False
    spares = True
    finds = Finds.NEAREST

    def better(self, margin: Tensor, distance: Tensor, best_margin: Tensor, best_distance: Tensor) -> Tensor:
        """Returns (N,) bool: whether a candidate replaces the best so far."""
        sure, before = margin >= self.least, best_margin >= self.least
        return (sure & ~before) | (sure & before & (distance < best_distance)) | (~before & (margin > best_margin))
