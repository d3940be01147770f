"""Defensive distillation: a network learns the softened answers of another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.errors import InputError
from steelman.training.checkpoint import Examples
from steelman.training.objectives.classify import accuracy
from steelman.weights import digest


@dataclass(frozen=True, kw_only=True)
class Distil:
    """Cross-entropy of the softmax at a temperature with a teacher's at the same one; judged by accuracy.

    The gradient is not scaled by the squared temperature. What is trained answers with its logits as they are, which is
    to say at a temperature of 1.

    teacher: of the same classes, in evaluation mode; None for the labels, from which a teacher learns.
    temperature: what logits are divided by before the softmax.
    Raises InputError for a temperature that is not positive.
    Source: Papernot et al. 2016 (Distillation as a defense), sections III and IV: eq. 5 for the labels, eq. 6 for the
    soft ones.
    """

    teacher: nn.Module | None = None
    temperature: float = 100.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"expected temperature as a number > 0, got {self.temperature!r}: say temperature=100")

    def __repr__(self) -> str:
        teacher = "None" if self.teacher is None else digest(self.teacher)[:16]
        return f"Distil(temperature={self.temperature}, teacher={teacher})"

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y); with a teacher, y is not asked."""
        x, y = batch
        return F.cross_entropy(model(x).float() / self.temperature, y if self.teacher is None else self.soft(x))

    @torch.no_grad()
    def soft(self, x: Tensor) -> Tensor:
        """Returns (N, K): the teacher's probabilities at the temperature.

        Raises InputError if there is no teacher.
        """
        if self.teacher is None:
            raise InputError("expected a teacher for soft labels, got none: say Distil(teacher=…)")
        logits: Tensor = self.teacher(x).float()
        return (logits / self.temperature).softmax(1)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy on clean images."""
        return {"accuracy": accuracy(model, validation)}
