"""Learning from clean and from attacked images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from steelman.attacks import fgsm, pgd
from steelman.attacks.settings import share
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.objectives.adversarial import Adversarial
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.opponent import AttackRecipe, opponent


@dataclass(frozen=True)
class Mixed:
    """alpha times the cross-entropy of clean images, and 1 - alpha times that of attacked ones.

    Raises InputError for an alpha outside [0, 1].
    Source: Goodfellow et al. 2015 (Explaining and harnessing adversarial examples), section 6.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        share(self.alpha, "alpha")

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, classify: Classify) -> Tensor:
        """Returns the mean loss."""
        return self.alpha * classify.reading(model, x, y) + (1 - self.alpha) * classify.reading(model, x_adv, y)


def mixed(
    threat: Threat | Ball,
    *,
    alpha: float = 0.5,
    attack: str | AttackRecipe = fgsm,
    steps: int | None = None,
    size: float | None = None,
    ramp: float = 0.0,
    classify: Classify | None = None,
) -> Adversarial:
    """Returns training on clean and attacked images alike; judged by 40 steps of PGD.

    alpha: what clean images count, the paper's half unless told.  attack, steps, size: FGSM unless told.
    ramp, classify: as `Adversarial` has them.
    The paper's gradient also goes through the sign, where it is zero; here the attacked images are fixed. Against FGSM
    alone a network may learn to hide its gradient (catastrophic overfitting), which the PGD that judges shows.
    Raises InputError for settings that are none, and for an attack that no batch can be trained on.
    Source: Goodfellow et al. 2015 (Explaining and harnessing adversarial examples), section 6.
    """
    made = opponent(attack, threat, steps=steps, size=size)
    return Adversarial(attack=made, val=pgd(threat), ramp=ramp, classify=classify or Classify(), lesson=Mixed(alpha))
