"""Cross-entropy on what an attack makes of each batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from steelman.attacks import Attack
from steelman.errors import InputError
from steelman.training.checkpoint import Examples
from steelman.training.objectives.classify import Classify, accuracy


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Cross-entropy on what an attack makes of each batch; judged by accuracy under another, then on clean images.

    The model is attacked as it is after every step, in evaluation mode: without dropout, and with the batch statistics
    that it will be judged with, which the attack does not move. It learns in training mode. The attack runs in bf16 if
    the fit does.

    attack: run on every batch; with the goal Last(), since the end of the ascent is wanted and no early stop.
    held: the attack that judges.
    ramp: the share of the training over which eps rises evenly from 0 to the attack's; 0 for all of it at once, under
    which a small network on MNIST at .3 may go on giving every image the same answer.
    classify: the augmentation before the attack, and the smoothing after it.
    Source: Madry et al. 2018, eq. 2.1; evaluation mode: Pang et al. 2021 (Bag of Tricks), section 3. The ramp is ours.
    """

    attack: Attack
    held: Attack
    ramp: float = 0.0
    classify: Classify = field(default_factory=Classify)

    def __post_init__(self) -> None:
        if not 0 <= self.ramp <= 1:
            raise InputError(f"expected ramp as a share in [0, 1], got {self.ramp!r}")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y) under attack, at the eps of this moment of the training."""
        x, y = batch
        x = self.classify.augmented(x)
        seed = int(torch.randint(2**31, ()))
        attack = self.attack.at(self.attack.threat.eps * done / self.ramp) if done < self.ramp else self.attack
        hurt = attack(model, x, y, seed=seed, slots=len(x), precision=searching(x)).x
        return self.classify.reading(model, hurt, y)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy under the held attack, and on clean images."""
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        found = self.held(model, x, y, precision=searching(x))
        return {f"{self.held.name} {self.held.threat.eps:g}": found.accuracy, "clean": accuracy(model, validation)}


def searching(x: Tensor) -> str:
    """The precision that the fit runs in; an attack's own would otherwise take its place."""
    return "bf16" if torch.is_autocast_enabled(x.device.type) else "fp32"
