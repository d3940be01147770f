"""Logit pairing: logits of two images that should be alike are drawn together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.attacks import AttackLike, pgd
from steelman.attacks.settings import not_negative
from steelman.errors import InputError, unknown
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.checkpoint import Examples
from steelman.training.objectives.adversarial import Adversarial
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.opponent import AttackRecipe, answered, opponent, withstood

PAIRINGS = ("adversarial", "clean")


@dataclass(frozen=True)
class Paired:
    """The cross-entropy of clean and attacked images alike, and weight times their logits' mean squared difference.

    Both go through the model as one batch, as in the authors' code, whose mean over images and classes this is too.
    Raises InputError for a negative weight.
    Source: Kannan, Kurakin & Goodfellow 2018 (Adversarial logit pairing), section 3 and eq. 3.
    """

    weight: float = 0.5

    def __post_init__(self) -> None:
        not_negative(self.weight, "weight")

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, classify: Classify) -> Tensor:
        """Returns the mean loss."""
        logits = answered(model, torch.cat([x, x_adv]))
        reading = F.cross_entropy(logits, torch.cat([y, y]), label_smoothing=classify.smoothing)
        clean, bad = logits.chunk(2)
        return reading + self.weight * F.mse_loss(clean, bad)


@dataclass(frozen=True, kw_only=True)
class CleanPairing:
    """Cross-entropy on noisy images, and weight times the mean squared difference of the logits of random pairs.

    Pairs are the first half of a batch and the second, whatever their classes. It makes no attack, and costs what
    plain training does. What it wins against PGD is much less against attacks with many starts (Mosbach et al. 2018),
    so that its figure under a single one says little.

    val: the attack that validates.  classify: the augmentation, its noise too, and the smoothing.
    Raises InputError for a negative weight.
    Source: Kannan, Kurakin & Goodfellow 2018 (Adversarial logit pairing), eq. 4.
    """

    val: AttackLike
    weight: float = 0.5
    classify: Classify = field(default_factory=lambda: Classify(noise=0.5))

    def __post_init__(self) -> None:
        not_negative(self.weight, "weight")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y); of an odd batch the last image has no partner."""
        x, y = batch
        logits = answered(model, self.classify.augmented(x))
        reading = F.cross_entropy(logits, y, label_smoothing=self.classify.smoothing)
        half = len(x) // 2
        return reading + self.weight * F.mse_loss(logits[:half], logits[half : 2 * half]) if half else reading

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy under the validation attack, and on clean images."""
        return withstood(model, self.val, validation)


def logit_pairing(
    threat: Threat | Ball,
    *,
    weight: float = 0.5,
    pairing: str = "adversarial",
    attack: str | AttackRecipe | None = None,
    steps: int | None = None,
    size: float | None = None,
    noise: float | None = None,
    ramp: float = 0.0,
    classify: Classify | None = None,
) -> Adversarial | CleanPairing:
    """Returns adversarial logit pairing (ALP) or clean logit pairing (CLP); judged by 40 steps of PGD.

    weight: of the pairs, .5 unless told, the paper's for ImageNet.
    pairing: "adversarial", which pairs each image with what the attack makes of it, or "clean".
    attack, steps, size: of adversarial pairing, PGD of 40 steps unless told, as for MNIST in the paper; where its
    ImageNet takes targeted PGD, this is untargeted.  ramp: of adversarial pairing; clean pairing has no eps to rise.
    noise: of clean pairing, the deviation of its Gaussian noise, .5 unless told.  classify: as `Adversarial` has it.
    Raises InputError for settings that are none or the other pairing's, and for an attack that no batch can be trained
    on.
    Source: Kannan, Kurakin & Goodfellow 2018 (Adversarial logit pairing), sections 3 to 5.
    """
    classify = classify or Classify()
    if pairing == "clean":
        _absent("clean", attack=attack, steps=steps, size=size)
        return CleanPairing(
            val=pgd(threat),
            weight=weight,
            classify=replace(classify, noise=not_negative(0.5 if noise is None else noise, "noise")),
        )
    if pairing != "adversarial":
        raise unknown("pairing", str(pairing), PAIRINGS)
    _absent("adversarial", noise=noise)
    made = opponent(attack or pgd, threat, steps=steps, size=size)
    return Adversarial(attack=made, val=pgd(threat), ramp=ramp, classify=classify, lesson=Paired(weight))


def _absent(pairing: str, **settings: object) -> None:
    given = [name for name, value in settings.items() if value is not None]
    if given:
        raise InputError(f"expected no {given[0]} for {pairing} logit pairing, which has none: leave it out")
