"""Fast adversarial training: one step of FGSM from noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from steelman.attacks import AttackLike, pgd
from steelman.attacks.settings import inside, not_negative, positive
from steelman.errors import InputError
from steelman.losses import cross_entropy
from steelman.norms import Ball
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.training.checkpoint import Epoch, Examples
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.collapse import collapsed
from steelman.training.objectives.opponent import searching, withstood
from steelman.victim import Mode, Victim


@dataclass(frozen=True, kw_only=True)
class Fast:
    """Cross-entropy after one step from a noisy image; judged by an attack of many steps, then clean, then by one step.

    The gradient of the step is taken in training mode, as in the papers' codes, but moves no statistics of batch norm.

    threat: that is to be withstood.  val: the attack that validates.
    noise: radius of the ball that the start is drawn from, and size: of the step, both in eps.
    clip: back into the threat's ball after the step; the box holds the image in any case.
    ramp: the share of the training over which eps rises evenly from 0.  classify: the augmentation before it.
    Raises InputError for a negative noise, a size that is not positive, or a ramp that is no share.
    """

    threat: Threat
    val: AttackLike
    noise: float = 2.0
    size: float = 1.0
    clip: bool = False
    ramp: float = 0.0
    classify: Classify = field(default_factory=Classify)

    def __post_init__(self) -> None:
        not_negative(self.noise, "noise")
        positive(self.size, "size")
        if not 0 <= self.ramp <= 1:
            raise InputError(f"expected ramp as a share in [0, 1], got {self.ramp!r}")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y) after the step, at the eps of this moment of the training."""
        return self.reading(model, self.attacked(model, batch, done), done)

    def attacked(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> tuple[Tensor, ...]:
        """Returns (moved, y) of (x, y), at the eps of this moment."""
        x, y = batch
        seed = int(torch.randint(2**31, ()))
        return self.moved(model, self.classify.augmented(x), y, seed=seed, share=rising(self.ramp, done)), y

    def reading(self, model: nn.Module, made: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of what `attacked` returned."""
        return self.classify.reading(model, *made)

    def moved(
        self, model: nn.Module, x: Tensor, y: Tensor, *, seed: int, share: float = 1.0, training: bool = True
    ) -> Tensor:
        """Returns (N, *S): the images with noise, one step up the cross-entropy.

        share: of eps, in the noise and in the step.  training: whether the gradient is that of training mode.
        """
        eps = self.threat.eps * share
        streams = Streams.of(seed, torch.arange(len(x), device=x.device)).derive("start")
        start = x + self.threat.at(self.noise * eps).ball.sample(streams, x)
        start = start.clamp(self.threat.low, self.threat.high)
        mode: Mode = "train" if training else "eval"
        with Victim(model, mode=mode, seed=seed, device=x.device, precision=searching(x)) as victim:
            grad = victim.answer(start, y, lambda logits: cross_entropy(logits, y)).grad
        end = start + self.size * eps * self.threat.steepest(grad, at=start)
        if self.clip:
            return self.threat.at(eps).project(end, around=x)
        return end.clamp(self.threat.low, self.threat.high)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy under the validation attack, on clean images and after the one step, always alike."""
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        right = 0
        for part, labels in zip(x.split(500), y.split(500), strict=True):
            with torch.no_grad():
                right += int((model(self.moved(model, part, labels, seed=0, training=False)).argmax(1) == labels).sum())
        return {**withstood(model, self.val, validation), self._step: right / len(x)}

    def warning(self, history: Sequence[Epoch]) -> str | None:
        """Returns what to say if the last epoch is the first that overfitted catastrophically, else None."""
        return collapsed(history, f"{self.val.name} {self.val.threat.eps:g}", self._step)

    @property
    def _step(self) -> str:
        return f"one step {self.threat.eps:g}"


def rising(ramp: float, done: float) -> float:
    """Returns the share of eps when a share of the training is done: it rises evenly over the first part, the ramp."""
    return done / ramp if done < ramp else 1.0


def fast(
    threat: Threat | Ball,
    *,
    noise: float = 2.0,
    size: float = 1.0,
    clip: bool = False,
    ramp: float = 0.0,
    classify: Classify | None = None,
) -> Fast:
    """Returns N-FGSM, one step of eps from noise of 2 eps without clipping; judged by 40 steps of PGD.

    threat: Linf as in the papers, or another ball, whose uniform noise and steepest move are then taken.
    noise, size, clip: `noise=1, size=1.25, clip=True` is RS-FGSM, which overfits catastrophically at large eps.
    ramp, classify: as `Fast` has them.
    Raises InputError for settings that are none, or a norm without a steepest move.
    Source: de Jorge et al. 2022 (Make some noise), section 4; RS-FGSM: Wong et al. 2020 (Fast is better than free),
    algorithm 3. The ramp is ours.
    """
    threat = inside(threat, "fast", "Linf", "L2", "L1")
    return Fast(
        threat=threat,
        val=pgd(threat),
        noise=noise,
        size=size,
        clip=clip,
        ramp=ramp,
        classify=classify or Classify(),
    )
