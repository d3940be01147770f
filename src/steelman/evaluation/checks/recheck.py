"""Another attack on what an evaluation left whole, and whether what it breaks is more than the figure allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb

import torch
from torch import Tensor

from steelman.attacks import Attack, AttackLike, OfEps, Result, Steepest, pgd
from steelman.attacks.engine.problem import Problem
from steelman.errors import InputError
from steelman.evaluation.checks.context import CheckContext
from steelman.evaluation.intervals import clopper_pearson
from steelman.evaluation.padding import PadBatch
from steelman.evaluation.planning.attacker import WHOLE, GradientPath
from steelman.evaluation.planning.attempts import Attempt
from steelman.losses import Loss, margin
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Answer, Victim


@dataclass(frozen=True)
class Recheck:
    """What one attack did to survivors.

    tried: survivors that it was made on.  broke: of those.  n, kept: images of the whole evaluation, and survivors.
    """

    tried: int
    broke: int
    n: int
    kept: int

    @property
    def share(self) -> float:
        """What it would break of all survivors, as a share of all images."""
        return self.broke / self.tried * self.kept / self.n if self.tried else 0.0

    @property
    def allowed(self) -> float:
        """Half of the width of the figure's 95 % interval."""
        low, high = clopper_pearson(self.kept, self.n)
        return (high - low) / 2

    @property
    def much(self) -> bool:
        """Whether it broke more than that; a single image is never much."""
        return self.broke > 1 and self.share > self.allowed

    def words(self, who: str) -> str:
        """Returns what happened, as a sentence; who: made the attack, as in "FGSM"."""
        if not self.tried:
            return f"No image was left for {who} to break."
        return (
            f"{who[0].upper()}{who[1:]} broke {self.broke} of {self.tried} images that held, {percent(self.share)} of "
            f"all {self.n:,} where {percent(self.allowed)} is half of the interval."
        )


def survivors(context: CheckContext, most: int) -> Tensor:
    """Returns the places of the first images that hold, at most so many; fewer of a random pipeline, by a quarter."""
    return context.holds.nonzero().squeeze(1)[: most // 4 if context.attacker.random else most]


def first(context: CheckContext, most: int) -> Tensor:
    """Returns the places of the first images, held or not, at most so many; fewer of a random pipeline, by a half.

    Raises InputError where there are none.
    """
    if not len(context.x):
        raise InputError(
            "expected images that the pipeline classifies correctly, got none: there is nothing to look at"
        )
    return torch.arange(len(context.x), device=context.x.device)[: most // 2 if context.attacker.random else most]


def way(context: CheckContext) -> GradientPath:
    """Returns the best way for a gradient through the pipeline.

    Raises InputError where there is none.
    """
    if not context.attacker.paths:
        raise InputError("no gradient comes through the pipeline")
    return context.attacker.paths[0]


def against(context: CheckContext, attack: AttackLike, rows: Tensor) -> Recheck:
    """Returns what an attack does to some of the survivors, made as the knowing attacker makes it.

    Raises InputError where no gradient comes through.
    """
    way(context)
    return recheck(context, rows, context.attacked(attack, rows) if len(rows) else None)


def unaided(context: CheckContext, attack: Attack, rows: Tensor) -> Result:
    """Returns what an attack finds that asks the pipeline for no gradient of its own."""
    x, y, indices = context.take(rows)
    made = Attempt(attack.name, WHOLE, context.attacker.pipeline, attack.through(context.attacker.look))
    return made(context.attacker, x, y, indices=indices, seed=context.seed, precision="fp32")


def recheck(context: CheckContext, rows: Tensor, result: Result | None) -> Recheck:
    """Returns the count of a result on some of the survivors."""
    broke = 0 if result is None else int(result.broken.sum())
    return Recheck(len(rows), broke, context.n, context.kept)


def iterated(threat: Threat, *, steps: int = 40, loss: Loss = margin, name: str = "pgd") -> Attack:
    """Returns PGD with steps of 2.5 eps / steps, so that it can cross the ball, as that of `pgd` cannot.

    loss: the margin unless told, which no scale of the logits flattens.
    """
    attack = pgd(threat, steps=steps, loss=loss)
    assert isinstance(attack.rule, Steepest)
    return replace(attack, name=name, rule=replace(attack.rule, size=OfEps(2.5 / steps)))


def asked(context: CheckContext, x: Tensor, y: Tensor, indices: Tensor, loss: Loss) -> Answer:
    """Returns what the best way answers at images: logits, loss and gradient.

    Raises InputError where no gradient comes through, or one with NaN.
    """
    through = way(context)
    streams = Streams.of(context.seed, indices.to(x.device)).derive("checks")
    zero = torch.zeros_like(y)
    problem = Problem(x, y, context.threat, streams, x, x.new_zeros(len(x), 0), zero, False)
    with Victim(PadBatch(through.model), seed=context.seed, device=x.device) as victim:
        return through.gradient.answer(victim, problem, x, zero, lambda logits: loss(logits, y))


def logits(context: CheckContext, x: Tensor, y: Tensor, *, draws: int = 1) -> Tensor:
    """Returns (N, K): what the pipeline answers, the mean of so many answers."""
    with Victim(
        PadBatch(context.attacker.pipeline), seed=context.seed, device=x.device, abstention="a class"
    ) as victim:
        return torch.stack([victim.logits(x, y) for _ in range(draws)]).mean(0)


def rarely(more: int, fewer: int) -> float:
    """Returns how likely `more` or more of all these pairs point one way if they were tosses of a coin (sign test)."""
    pairs = more + fewer
    return float(sum(comb(pairs, count) for count in range(more, pairs + 1)) / 2.0**pairs)


def percent(share: float) -> str:
    """Returns a share in words, as in "9.8 %"."""
    return f"{100 * share:.1f} %"


def all_of(attack: AttackLike, trial: Recheck) -> tuple[AttackLike, ...]:
    """Returns the attack to make on every survivor, where it broke any here."""
    return (attack,) if trial.broke else ()
