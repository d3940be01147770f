"""The right attack for each member of the zoo: a stand-in whose gradient leads, and an attack on it.

What is found is judged on the pipeline itself (`judge.accuracy`), so that a stand-in can only make an attack weaker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steelman.attacks import Attack, Last, apgd_dlr, averaged, pgd
from steelman.defences import MedianSmoothing, StraightThrough
from steelman.losses import margin
from steelman.norms import Linf

from .specimen import Specimen

StandIn = Callable[[Any], nn.Module]
"""From a pipeline to what the attacker differentiates in its place."""


def stepped(ball: Linf) -> Attack:
    """Returns twenty steps of PGD on the margin, which does not saturate."""
    return pgd(ball, steps=20, size=float(ball.eps) / 5, loss=margin)


@dataclass(frozen=True)
class Adaptive:
    """An attack on a stand-in for the pipeline, averaged over `draws` of it if more than one."""

    stand_in: StandIn
    draws: int = 1
    recipe: Callable[[Linf], Attack] = stepped

    def __call__(self, specimen: Specimen, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, *S): adversarial images in the specimen's ball."""
        attack = self.recipe(Linf(specimen.eps))
        if self.draws > 1:
            attack = attack.through(averaged(self.draws)).with_goal(Last())
        return attack(self.stand_in(specimen.build()).eval(), x, y).x


class Around(nn.Module):
    """A model asked beside an image: averaged, the slope of what lies around it in place of a jump."""

    def __init__(self, model: nn.Module, sigma: float = 0.1) -> None:
        super().__init__()
        self.model, self.sigma = model, sigma

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x + self.sigma * torch.randn_like(x))
        return logits


def itself(model: nn.Module) -> nn.Module:
    """Returns the pipeline: its gradient leads, where the attacker looks through all of it."""
    return model


def straight_through(model: nn.Sequential) -> nn.Module:
    """Returns the pipeline with its first stage differentiated as the identity (BPDA)."""
    return nn.Sequential(StraightThrough(model[0]), *model[1:])


def first_left_out(model: nn.Sequential) -> nn.Module:
    """Returns what stands behind the first stage, where that changes no image."""
    return model[1:]


def last_left_out(model: nn.Sequential) -> nn.Module:
    """Returns what stands before the last stage, where that changes no decision."""
    return model[:-1]


def filling(model: nn.Sequential) -> nn.Module:
    """Returns the pipeline with its thermometer differentiated as one whose channels fill by and by."""
    code = model[0]
    return nn.Sequential(StraightThrough(code, code.softened), *model[1:])


def median_in_torch(model: nn.Sequential) -> nn.Module:
    """Returns the pipeline with a median of the same 3×3 that can be differentiated."""
    return nn.Sequential(MedianSmoothing(3), *model[1:])


def around(model: nn.Module) -> nn.Module:
    """Returns the pipeline asked at random points beside an image."""
    return Around(model)


attacks: dict[str, Adaptive] = {
    "saturated-logits": Adaptive(last_left_out),
    "distilled": Adaptive(itself),
    "jpeg": Adaptive(straight_through),
    "bit-depth": Adaptive(straight_through),
    "resize-pad": Adaptive(itself, draws=5),
    "noise": Adaptive(itself, draws=5),
    "noisy-features": Adaptive(itself, draws=5),
    "thermometer": Adaptive(filling),
    "purifier": Adaptive(itself),
    "k-winners": Adaptive(around, draws=10),
    "reconstruction-error": Adaptive(itself),
    "left-in-training": Adaptive(itself, draws=5),
    "probabilities": Adaptive(last_left_out),
    "nan-gradient": Adaptive(first_left_out),
    "detached": Adaptive(median_in_torch),
    "sawtooth": Adaptive(straight_through),
    "undefended-0.1": Adaptive(itself),
    "undefended-0.3": Adaptive(itself),
    "adversarially-trained": Adaptive(itself, recipe=apgd_dlr),
}
"""By the specimen's name."""
