"""How to fit: every number that decides the weights besides model, data and objective."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from steelman.errors import InputError
from steelman.precision import PRECISIONS

OPTIMISERS = ("adamw", "adam", "sgd")
SCHEDULES = ("one-cycle", "constant")
_WARM = 0.15


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to fit.

    schedule: "one-cycle" (linear warm-up over 15 %, then a cosine to zero) or "constant".
    momentum, beta2: of Adam and AdamW, their two decays; SGD knows the first alone.
    average: decay of an exponential moving average of the weights, 0 for none; the average is what is kept.
    swa_after: share of the training after which the even average over all steps since is kept instead (SWA, Izmailov
    et al. 2018, who average over epochs), 1 for never.  settle: batches over which averaged weights take their
    batch-norm statistics anew before they are judged, 0 for an average of the statistics too.
    awp: how far adversarial weight perturbation moves a layer, as a share of its norm, 0 for none; Wu, Xia & Wang 2020
    take .01, and .005 with TRADES.  awp_after: share of the training after which it begins.
    patience: epochs without a better score before it stops, 0 for never.  clip: largest norm of a gradient, 0 for any.
    precision: "fp32", "bf16" or "auto" (bf16 where the device multiplies it natively).
    Raises InputError for a number out of its range.
    """

    epochs: int
    batch_size: int = 128
    optimiser: str = "adamw"
    rate: float = 2e-3
    momentum: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    schedule: str = "one-cycle"
    average: float = 0.0
    swa_after: float = 1.0
    settle: int = 0
    awp: float = 0.0
    awp_after: float = 0.0
    patience: int = 0
    clip: float = 0.0
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("patience", 0), ("settle", 0), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value < 2**31:
                raise InputError(f"expected {name} as a whole number from {least}, got {value!r}")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"expected rate as a number > 0, got {self.rate!r}")
        if not (math.isfinite(self.awp) and self.awp >= 0):
            raise InputError(f"expected awp as a share of a layer's norm, from 0, got {self.awp!r}: say awp=0.01")
        if not 0 <= self.average < 1:
            raise InputError(f"expected average as a decay in [0, 1), got {self.average!r}: say average=0.998, or 0")
        for name in ("swa_after", "awp_after"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected {name} as a share in [0, 1], got {getattr(self, name)!r}")
        if self.average and self.swa_after < 1:
            raise InputError("expected average or swa_after, got both: leave one out")
        for name, known in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise InputError(f"expected {name} {', '.join(known[:-1])} or {known[-1]}, got {getattr(self, name)!r}")

    def rate_at(self, done: float) -> float:
        """Returns the learning rate when a share of the training, in [0, 1), is done."""
        if self.schedule == "constant":
            return self.rate
        if done < _WARM:
            return self.rate * (done + 1e-3) / (_WARM + 1e-3)
        return self.rate * 0.5 * (1 + math.cos(math.pi * (done - _WARM) / (1 - _WARM)))

    @property
    def averages(self) -> bool:
        """Whether an average of the weights is what is kept."""
        return self.average > 0 or self.swa_after < 1

    def decay_at(self, step: int, steps: int) -> float:
        """Returns what of the average stays at a step of so many, counted from 0."""
        if self.swa_after < 1:
            since = step - math.ceil(self.swa_after * steps)
            return since / (since + 1) if since > 0 else 0.0
        return min(self.average, (1 + step) / (10 + step))

    def optimiser_for(self, model: nn.Module) -> torch.optim.Optimizer:
        """Returns the optimiser over what of the model trains."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        if self.optimiser == "sgd":
            return torch.optim.SGD(
                parameters,
                self.rate,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                nesterov=self.momentum > 0,
            )
        kind = torch.optim.Adam if self.optimiser == "adam" else torch.optim.AdamW
        betas = (self.momentum, self.beta2)
        return kind(parameters, self.rate, betas=betas, weight_decay=self.weight_decay)
