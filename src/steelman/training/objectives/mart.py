"""MART: what is read wrong counts more."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn import functional as F

from steelman.attacks import AttackLike, OfEps, pgd
from steelman.attacks.settings import not_negative
from steelman.attacks.steepest import Steepest
from steelman.losses import others
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.objectives.adversarial import Adversarial
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.opponent import AttackRecipe, answered, opponent
from steelman.training.objectives.trades import divergence


@dataclass(frozen=True)
class Mart:
    """The boosted cross-entropy of attacked images, and beta times how far they moved answers that were not sure.

    Boosted: -log p_y - log(1 - max p_k over k that are not y). How far: the Kullback-Leibler divergence from the clean
    image's answer, times 1 - the probability that this gives to y. No label smoothing: it has no place in the paper.
    Raises InputError for a negative beta.
    Source: Wang et al. 2020 (MART), eq. 7 to 11.
    """

    beta: float = 5.0

    def __post_init__(self) -> None:
        not_negative(self.beta, "beta")

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, classify: Classify) -> Tensor:
        """Returns the mean loss; its gradient goes through both answers and the weight."""
        clean, bad = answered(model, x), answered(model, x_adv)
        rival = others(bad, y).argmax(1)
        boosted = F.cross_entropy(bad, y, reduction="none") - _log_rest(bad, rival)
        unsure = 1 - clean.softmax(1).gather(1, y[:, None]).squeeze(1)
        return (boosted + self.beta * divergence(clean, bad) * unsure).mean()


def _log_rest(logits: Tensor, k: Tensor) -> Tensor:
    """log(1 - p_k), which the probabilities themselves would round to minus infinity where p_k is one."""
    return others(logits, k).logsumexp(1) - logits.logsumexp(1)


def mart(
    threat: Threat | Ball,
    *,
    beta: float = 5.0,
    attack: str | AttackRecipe | None = None,
    steps: int | None = None,
    size: float | None = None,
    ramp: float = 0.0,
    classify: Classify | None = None,
) -> Adversarial:
    """Returns misclassification-aware adversarial training; judged by 40 steps of PGD.

    beta: what moved answers count, 5 unless told; the authors' code has 6 too.
    attack, steps, size: PGD of 10 steps of eps/4 from a random point unless told.
    ramp, classify: as `Adversarial` has them.
    Raises InputError for settings that are none, and for an attack that no batch can be trained on.
    Source: Wang et al. 2020 (MART), algorithm 1 and section 4.
    """
    made = opponent(attack or _ascent, threat, steps=steps, size=size)
    return Adversarial(attack=made, val=pgd(threat), ramp=ramp, classify=classify or Classify(), lesson=Mart(beta))


def _ascent(threat: Threat | Ball, *, steps: int = 10, size: float | None = None) -> AttackLike:
    made = pgd(threat, steps=steps, size=size)
    if size is None and isinstance(made.rule, Steepest):
        return replace(made, rule=replace(made.rule, size=OfEps(0.25)))
    return made
