"""Gradients estimated from scores alone, and the attacks that are known by them: NES and SPSA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.estimators import Ascend
from steelman.attacks.engine.guides import Guide
from steelman.attacks.engine.problem import Asks, Probe, Problem
from steelman.attacks.engine.schedules import Fixed, OfEps, Schedule
from steelman.attacks.reprs import by_name
from steelman.attacks.settings import column, count, inside, positive
from steelman.errors import InputError
from steelman.losses import Loss, cross_entropy, margin
from steelman.norms import Ball
from steelman.norms import column as radius
from steelman.threat import Threat
from steelman.victim import Answer, Victim

Kind = Literal["nes", "spsa"]


@dataclass(frozen=True)
class Estimated:
    """An estimator that asks for logits alone, at pairs of images on both sides of a candidate.

    Each pair adds the difference of its values, over the way between them, times its direction.
    kind: "nes" for normal directions, "spsa" for directions of random signs.
    samples: forward passes of one estimate, two a pair.  size: how far to each side, in the images' units.
    together: images in the model at once; as many as there are samples unless told.
    Images beside a candidate may lie outside the box, as in both papers; they are never kept.
    Source: Ilyas et al. 2018, section 2.1.1, with antithetic sampling; Uesato et al. 2018, algorithm 1.
    """

    kind: Kind
    samples: int
    size: float
    together: int | None = None

    differentiates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.kind not in ("nes", "spsa"):
            raise InputError(f"expected 'nes' or 'spsa' as the kind of an estimate, got {self.kind!r}")
        if count(self.samples, "samples", 2) % 2:
            raise InputError(f"expected an even number of samples, as they come in pairs, got {self.samples}")
        positive(self.size, "size")
        if self.together is not None:
            count(self.together, "together")

    def look(self, victim: Victim, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): the logits alone."""
        return victim.logits(x, y)

    def answer(self, victim: Victim, problem: Problem, x: Tensor, k: Tensor, ascend: Ascend) -> Answer:
        """Returns logits and value at x, and the estimate of the gradient: (N, *S), or (N, C, *S) of C values."""
        logits = victim.logits(x, problem.y)
        value = ascend(logits)
        grad = x.new_zeros(*value.shape, *x.shape[1:])
        at_once = max(1, (self.together or len(x)) // (2 * len(x)))
        for first in range(0, self.samples // 2, at_once):
            pairs = range(first, min(first + at_once, self.samples // 2))
            ways = torch.stack([self._direction(problem, x, k, pair) for pair in pairs])
            for way, (above, below) in zip(ways, self._values(victim, problem, x, ways, ascend), strict=True):
                rise = (above - below) / (self.size * self.samples)
                way = way.unsqueeze(1) if value.dim() == 2 else way
                grad += rise.view(*rise.shape, *[1] * (x.dim() - 1)).to(x.dtype) * way
        return Answer(logits, value, grad)

    def _direction(self, problem: Problem, x: Tensor, k: Tensor, pair: int) -> Tensor:
        streams = problem.streams.derive("estimate").derive(k).derive(pair)
        if self.kind == "nes":
            return streams.normal(x)
        return torch.where(streams.uniform(x) < 0.5, -1.0, 1.0).to(x.dtype)

    def _values(
        self, victim: Victim, problem: Problem, x: Tensor, ways: Tensor, ascend: Ascend
    ) -> list[tuple[Tensor, Tensor]]:
        """The values on both sides of x along each of the ways, (P, N, *S), in as few passes as fit."""
        beside = torch.cat([x + self.size * ways, x - self.size * ways]).flatten(0, 1)
        most = max(self.together or len(x), 1)
        y = problem.y.repeat(2 * len(ways))
        logits = [victim.logits(part, own) for part, own in zip(beside.split(most), y.split(most), strict=True)]
        values = [ascend(each) for each in torch.cat(logits).split(len(x))]
        return list(zip(values[: len(ways)], values[len(ways) :], strict=True))


def estimated(
    kind: Kind = "nes", samples: int = 50, size: float | None = None, *, together: int | None = None
) -> Estimated:
    """Returns an estimator that needs no gradient of the model, for any attack that ascends one.

    kind: "nes" or "spsa".  samples: forward passes of one estimate.
    size: how far beside a candidate they are; unless told the paper's .001 (NES) or .01 (SPSA).
    together: images in the model at once; as many as there are samples unless told.
    Raises InputError for another kind, or an odd number of samples.
    """
    return Estimated(kind, samples, (0.001 if kind == "nes" else 0.01) if size is None else size, together)


@dataclass(frozen=True, kw_only=True)
class SmoothedEstimator:
    """Projected steepest ascent along the running mean of gradients, in which the noise of estimates cancels.

    keep: the share of the mean that a move keeps.
    """

    steps: int
    size: Schedule
    keep: float = 0.9

    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = True

    __repr__ = by_name

    def start(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Returns the clean images, and a mean of nothing."""
        return problem.x.clone(), torch.zeros_like(problem.x)

    def move(self, problem: Problem, state: Tensor, probe: Probe) -> tuple[Tensor, Tensor]:
        """Returns the next candidates: a step along the mean, then back into the threat."""
        mean = self.keep * state + (1 - self.keep) * probe.grad
        step = problem.threat.steepest(mean, at=probe.x) * radius(self.size(problem, probe.k), probe.x)
        return problem.threat.project(probe.x + step, around=problem.x), mean


class Moments(NamedTuple):
    """Running means of the gradient and of its square, both (N, *S)."""

    mean: Tensor
    square: Tensor


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Projected ascent by Adam from the clean image; size is its learning rate.

    Source: Kingma & Ba 2015, algorithm 1, at its defaults.
    """

    steps: int
    size: float

    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = True

    def start(self, problem: Problem) -> tuple[Tensor, Moments]:
        """Returns the clean images, and moments of nothing."""
        nothing = torch.zeros_like(problem.x)
        return problem.x.clone(), Moments(nothing, nothing.clone())

    def move(self, problem: Problem, state: Moments, probe: Probe) -> tuple[Tensor, Moments]:
        """Returns the next candidates: a step of Adam, then back into the threat."""
        mean = 0.9 * state.mean + 0.1 * probe.grad
        square = 0.999 * state.square + 0.001 * probe.grad.square()
        done = column(probe.k + 1, probe.x)
        scale = (square / (1 - 0.999**done)).sqrt() + 1e-8
        x = probe.x + self.size * mean / (1 - 0.9**done) / scale
        return problem.threat.project(x, around=problem.x), Moments(mean, square)


def nes(
    threat: Threat | Ball,
    *,
    steps: int = 196,
    samples: int = 50,
    reach: float = 0.001,
    size: float | None = None,
    targeted: bool = False,
    loss: Loss | Guide = cross_entropy,
) -> Attack:
    """Returns the attack by natural evolution strategies: PGD along gradients estimated from the scores.

    threat: Linf as in the paper, or L2.  steps: 196 unless told, 10,000 queries with the
    look at each candidate.
    samples: forward passes of one estimate, half of them on either side.  reach: how far, the paper's σ.
    size: of a step; unless told eps / 5, the paper's .01 at its eps .05.
    Each step follows the running mean of the estimates, nine parts of ten kept, as the authors' code does; its step
    size does not shrink where the loss stalls, as theirs does.
    Source: Ilyas et al. 2018 (Black-box adversarial attacks with limited queries and information), table 1.
    """
    schedule = OfEps(0.2) if size is None else Fixed(positive(size, "size"))
    return Attack(
        name="nes",
        threat=inside(threat, "nes", "Linf", "L2"),
        rule=SmoothedEstimator(steps=count(steps), size=schedule),
        loss=loss,
        targeted=targeted,
        gradient=Estimated("nes", samples, reach),
    )


def spsa(
    threat: Threat | Ball,
    *,
    steps: int = 100,
    samples: int = 128,
    reach: float = 0.01,
    size: float = 0.01,
    targeted: bool = False,
    loss: Loss | Guide = margin,
) -> Attack:
    """Returns the SPSA attack: Adam on the margin, along gradients estimated with directions of random signs.

    threat: Linf as in the paper, or L2.  samples: forward passes of one estimate, half of them on either side; models
    that hide their gradients may need thousands.
    reach: how far beside a candidate, δ.  size: Adam's learning rate.
    The paper's .01 for both, and 128 samples, are the defaults of CleverHans.
    Source: Uesato et al. 2018 (Adversarial risk and the dangers of evaluating against weak attacks), algorithm 1.
    """
    return Attack(
        name="spsa",
        threat=inside(threat, "spsa", "Linf", "L2"),
        rule=Adam(steps=count(steps), size=positive(size, "size")),
        loss=loss,
        targeted=targeted,
        gradient=Estimated("spsa", samples, reach),
    )
