"""TRADES: clean images classified correctly, and answers that an attack does not move."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from steelman.attacks import AttackLike, Problem, pgd
from steelman.attacks.settings import not_negative
from steelman.losses import margin
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.objectives.adversarial import Adversarial
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.opponent import answered, opponent


@dataclass(frozen=True)
class Diverging:
    """A guide: how far the answer is from the one to the clean image, as the Kullback-Leibler divergence of the two.

    Labels are not asked, so that what is found may be classified correctly. Where rounding leaves no gradient, as it
    does next to the clean image and in bf16, 1e-20 of the margin keeps a direction.
    Source: Zhang et al. 2019 (TRADES), algorithm 1.
    """

    def ascend(self, problem: Problem, k: Tensor, logits: Tensor) -> Tensor:
        """Returns (N,): the divergence of the answer from that to the clean image."""
        return divergence(problem.logits, logits) + problem.sign * 1e-20 * margin(logits, problem.y)

    def targets(self, classes: int) -> int:
        """Returns 1."""
        return 1


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """Returns (N,): the Kullback-Leibler divergence of the softmax of others from that of logits, both (N, K)."""
    return F.kl_div(others.log_softmax(1), logits.log_softmax(1), reduction="none", log_target=True).sum(1)


def at_nearby(problem: Problem) -> Tensor:
    """Returns each image with Gaussian noise of deviation .001, inside its threat."""
    noise = problem.streams.derive("start").normal(problem.x)
    return problem.threat.project(problem.x + 0.001 * noise, around=problem.x)


@dataclass(frozen=True)
class Trades:
    """The cross-entropy of clean images, and beta times the divergence of the attacked ones' answers from theirs.

    Raises InputError for a negative beta.
    Source: Zhang et al. 2019 (TRADES), eq. 5 (its 1/lambda is beta here, as in its code).
    """

    beta: float = 6.0

    def __post_init__(self) -> None:
        not_negative(self.beta, "beta")

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, classify: Classify) -> Tensor:
        """Returns the mean loss; its gradient goes through both answers."""
        logits, others = answered(model, x), answered(model, x_adv)
        reading = F.cross_entropy(logits, y, label_smoothing=classify.smoothing)
        return reading + self.beta * divergence(logits, others).mean()


def trades(
    threat: Threat | Ball,
    *,
    beta: float = 6.0,
    steps: int | None = None,
    size: float | None = None,
    ramp: float = 0.0,
    classify: Classify | None = None,
) -> Adversarial:
    """Returns TRADES; judged by 40 steps of PGD.

    beta: what moved answers count, 6 unless told; the paper has 1 and 6.
    steps, size: of the ascent from near the image, 40 unless told, which is .01 each at eps .3, the paper's for MNIST;
    its 10 of .007 for CIFAR-10 at .031 are steps=10, size=0.007.  ramp, classify: as `Adversarial` has them.
    Raises InputError for settings that are none.
    Source: Zhang et al. 2019 (TRADES), algorithm 1 and section 5; the numbers for MNIST are those of its code.
    """

    def ascent(threat: Threat | Ball, *, steps: int = 40, size: float | None = None) -> AttackLike:
        return pgd(threat, steps=steps, size=size, start=at_nearby, loss=Diverging())

    made = opponent(ascent, threat, steps=steps, size=size)
    return Adversarial(attack=made, val=pgd(threat), ramp=ramp, classify=classify or Classify(), lesson=Trades(beta))
