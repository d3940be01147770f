"""Learning from what an attack makes of each batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from steelman.attacks import AttackLike, pgd
from steelman.errors import InputError
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.checkpoint import Examples
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.opponent import AttackRecipe, opponent, ramped, withstood, x_adv


class Lesson(Protocol):
    """What is learnt from images and from what an attack made of them; its repr is part of its objective's."""

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, classify: Classify, /) -> Tensor:
        """Returns the mean loss, in the mode that the model is in.

        x, x_adv: (N, *S), augmented, before the attack and after it.  y: (N,).  classify: which reads, and smooths.
        """
        ...


@dataclass(frozen=True)
class Withstand:
    """The cross-entropy of the attacked images alone.

    Source: Madry et al. 2018, eq. 2.1.
    """

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, classify: Classify) -> Tensor:
        """Returns the mean loss."""
        return classify.reading(model, x_adv, y)


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """A lesson from what an attack makes of each batch; judged by accuracy under another, then on clean images.

    The model is attacked as it is after every step, in evaluation mode: without dropout, and with the batch statistics
    that it will be judged with, which the attack does not move. It learns in training mode. The attack runs in bf16 if
    the fit does.

    attack: run on every batch; with the goal Last(), since the end of the ascent is wanted and no early stop.
    val: the attack that validates.
    ramp: the share of the training over which eps rises evenly from 0 to the attack's; 0 for all of it at once, under
    which a small network on MNIST at .3 may go on giving every image the same answer.
    classify: the augmentation before the attack, and the smoothing after it.
    lesson: what is learnt from the batch before the attack and after it.
    Source: Madry et al. 2018, eq. 2.1; evaluation mode: Pang et al. 2021 (Bag of Tricks), section 3. The ramp is ours.
    """

    attack: AttackLike
    val: AttackLike
    ramp: float = 0.0
    classify: Classify = field(default_factory=Classify)
    lesson: Lesson = field(default_factory=Withstand)

    def __post_init__(self) -> None:
        if not 0 <= self.ramp <= 1:
            raise InputError(f"expected ramp as a share in [0, 1], got {self.ramp!r}")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y) under attack, at the eps of this moment of the training."""
        return self.reading(model, self.attacked(model, batch, done), done)

    def attacked(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> tuple[Tensor, ...]:
        """Returns (augmented, attacked, y) of (x, y), at the eps of this moment."""
        x, y = batch
        x = self.classify.augmented(x)
        return x, x_adv(model, ramped(self.attack, self.ramp, done), x, y), y

    def reading(self, model: nn.Module, made: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of what `attacked` returned."""
        x, bad, y = made
        return self.lesson(model, x, bad, y, self.classify)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy under the validation attack, and on clean images."""
        return withstood(model, self.val, validation)


def madry(
    threat: Threat | Ball,
    *,
    attack: str | AttackRecipe = pgd,
    steps: int | None = None,
    size: float | None = None,
    ramp: float = 0.0,
    classify: Classify | None = None,
) -> Adversarial:
    """Returns adversarial training: cross-entropy on attacked images alone; judged by 40 steps of PGD.

    attack, steps, size: PGD of 40 steps unless told, which is .01 each at eps .3, the paper's for MNIST; its 7 of
    2/255 for CIFAR-10 are steps=7, size=2/255.  ramp, classify: as `Adversarial` has them.
    Raises InputError for settings that are none, and for an attack that no batch can be trained on.
    Source: Madry et al. 2018, section 5.
    """
    made = opponent(attack, threat, steps=steps, size=size)
    return Adversarial(attack=made, val=pgd(threat), ramp=ramp, classify=classify or Classify())
