"""FGSM and PGD as the paper ran them, and with its mistakes mended."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from steelman.attacks import Attack, Fixed, Last, Result, Steepest, at_given, at_input, fgsm, pgd
from steelman.losses import Loss, cross_entropy, margin, negative_logit
from steelman.norms import Linf
from steelman.progress import Progress, part
from steelman.threat import Threat
from steelman.training.conv_autoencoder import MODE, SLOTS
from steelman.victim import Mode

STEPS, SIZE = 40, 0.01
"""Of the paper's PGD. Source: code of arXiv 2312.03520."""


@dataclass(frozen=True)
class PaperProtocol:
    """How a figure is measured.

    mode: of the classifier.  slots: images in it at once, None for what is fastest.
    fgsm_loss: what FGSM ascends.  boxed: whether PGD stays in [0, 1].
    """

    name: str
    mode: Mode
    slots: int | None
    fgsm_loss: Loss
    boxed: bool

    def attack(self, name: str, eps: float) -> Attack:
        """Returns FGSM or PGD of this protocol."""
        threat = Threat(Linf(eps)) if name == "fgsm" or self.boxed else Threat(Linf(eps), low=-math.inf, high=math.inf)
        if name == "fgsm":
            return fgsm(threat, loss=self.fgsm_loss).with_goal(Last())
        return pgd(threat, steps=STEPS, size=SIZE, start=at_input).with_goal(Last())

    def run(
        self,
        attack: Attack,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        seed: int,
        begin: Tensor | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Result:
        """Returns what an attack finds, the model in this protocol's mode and batches."""
        return attack(
            model, x, y, seed=seed, begin=begin, slots=self.slots, mode=self.mode, precision="auto", progress=progress
        )

    def sweep(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        all_eps: Sequence[float],
        *,
        seed: int,
        progress: Callable[[Progress], None],
    ) -> dict[float, Result]:
        """Returns what PGD finds at each eps, the steps shared that a larger ball takes just as a smaller one.

        From the image in steps of .01, no ball stops a sample before step eps / .01: up to there all runs are one.
        """
        found: dict[float, Result] = {}
        trunk, walked = x, 0
        for at, eps in enumerate(sorted(all_eps)):
            told = part(progress, at, len(all_eps))
            whole = self.attack("pgd", eps)
            free = min(STEPS - 1, math.floor(eps / SIZE + 1e-9))
            if free > walked:
                trunk = self.run(_steps(whole, free - walked), model, x, y, seed=seed, begin=trunk).x
                walked = free
            rest = _steps(whole, STEPS - walked)
            found[eps] = self.run(rest, model, x, y, seed=seed, begin=trunk, progress=told)
        return found


def _steps(attack: Attack, steps: int) -> Attack:
    return replace(attack, rule=Steepest(steps=steps, size=Fixed(SIZE), start_at=at_given))


AS_PUBLISHED = PaperProtocol("as-published", mode=MODE, slots=SLOTS, fgsm_loss=negative_logit, boxed=False)
"""Images of 32×32; batch statistics and dropout on, batches of 64; FGSM on the raw logit; PGD not clipped to [0, 1]."""

STATIC = PaperProtocol("static", mode="eval", slots=None, fgsm_loss=cross_entropy, boxed=True)
"""Evaluation mode, cross-entropy, every image inside ball and box; the attacker sees the classifier alone."""


def adaptive(eps: float) -> tuple[Attack, ...]:
    """Returns the attacks of the adaptive column, to be run through the whole pipeline, each on what survives.

    Steps of 2.5 eps / steps, so that every point of the ball can be reached from every other: 30 from the image on
    cross-entropy, then 20 from a random point on the margin.
    """
    return (
        pgd(Linf(eps), steps=30, size=2.5 * eps / 30, start=at_input),
        replace(pgd(Linf(eps), steps=20, size=2.5 * eps / 20, loss=margin), name="pgd-margin"),
    )
