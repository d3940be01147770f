"""Guided adversarial training: one step that is led away from the clean answer, and answers held together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from steelman.attacks import Attack, Last, OfEps, Problem, Steepest, at_corner, pgd
from steelman.attacks.settings import inside, not_negative, positive
from steelman.losses import cross_entropy
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.checkpoint import Examples
from steelman.training.objectives.adversarial import Adversarial
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.opponent import answered

_QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class LedAway:
    """A guide: cross-entropy, and weight times the squared distance of the softmax from the clean image's."""

    weight: float

    def ascend(self, problem: Problem, k: Tensor, logits: Tensor) -> Tensor:
        """Returns (N,): the guided loss."""
        return problem.sign * cross_entropy(logits, problem.y) + self.weight * apart(problem.logits, logits)

    def targets(self, classes: int) -> int:
        """Returns 1."""
        return 1


def apart(logits: Tensor, others: Tensor) -> Tensor:
    """Returns (N,): the squared Euclidean distance between the softmax of logits and of others, both (N, K)."""
    return ((logits.softmax(1) - others.softmax(1)) ** 2).sum(1)


@dataclass(frozen=True)
class Held:
    """The cross-entropy of clean images, and weight times how far the attacked ones' probabilities are from theirs."""

    weight: float

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, classify: Classify) -> Tensor:
        """Returns the mean loss; its gradient goes through both answers."""
        clean, bad = answered(model, x), answered(model, x_adv)
        reading = F.cross_entropy(clean, y, label_smoothing=classify.smoothing)
        return reading + self.weight * apart(clean, bad).mean()


@dataclass(frozen=True, kw_only=True)
class Guided:
    """One guided step to each batch, and a lesson of the same weight, which grows after each quarter of the training.

    adversarial: its attack and its lesson get the weight of the moment, and the rest is as it is there.
    weight: at first.  growth: what it is multiplied with after each of the first three quarters.
    Raises InputError for a negative weight or a growth that is not positive.
    Source: Sriramanan et al. 2020 (Guided adversarial attack), section 5.
    """

    adversarial: Adversarial
    weight: float = 15.0
    growth: float = 3.0

    def __post_init__(self) -> None:
        not_negative(self.weight, "weight")
        positive(self.growth, "growth")

    def at(self, done: float) -> Adversarial:
        """Returns what is minimised when a share of the training is done."""
        weight = self.weight * self.growth ** sum(done >= part for part in _QUARTERS)
        attack = replace(cast("Attack", self.adversarial.attack), loss=LedAway(weight))
        return replace(self.adversarial, attack=attack, lesson=Held(weight))

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y) under attack, at the eps and the weight of this moment of the training."""
        return self.at(done).loss(model, batch, done)

    def attacked(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> tuple[Tensor, ...]:
        """Returns (augmented, attacked, y) of (x, y), at the eps and the weight of this moment."""
        return self.at(done).attacked(model, batch, done)

    def reading(self, model: nn.Module, made: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of what `attacked` returned, at the weight of this moment."""
        return self.at(done).reading(model, made, done)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy under the validation attack, and on clean images."""
        return self.adversarial.validate(model, validation)


def guided(
    threat: Threat | Ball,
    *,
    weight: float = 15.0,
    growth: float = 3.0,
    ramp: float = 0.0,
    classify: Classify | None = None,
) -> Guided:
    """Returns guided adversarial training (GAT); judged by 40 steps of PGD.

    The attack is one step of eps from a random corner of the ball, up the cross-entropy and the weighted squared
    distance of the softmax from the clean image's; the lesson is the cross-entropy of clean images and that distance,
    of the same weight. In the authors' code the step starts from the corner and the ball is projected on after it.
    weight, growth: the MNIST code's unless told; that for CIFAR-10 has weight=10, growth=4, and starts from eps/2.
    ramp, classify: as `Adversarial` has them.
    The clean answer that the step is led away from is that of evaluation mode; the code takes that of training mode.
    Raises InputError for settings that are none, or another norm than Linf.
    Source: Sriramanan et al. 2020 (Guided adversarial attack), section 5 and algorithm 2, with the numbers of its code.
    """
    threat = inside(threat, "guided", "Linf")
    rule = Steepest(steps=1, size=OfEps(1.0), start_at=at_corner)
    attack = Attack(name="guided", threat=threat, rule=rule, loss=LedAway(weight), goal=Last())
    made = Adversarial(attack=attack, val=pgd(threat), ramp=ramp, classify=classify or Classify(), lesson=Held(weight))
    return Guided(adversarial=made, weight=weight, growth=growth)
