"""Does the model answer as it would be used: in evaluation mode, the same each time, in logits?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.recheck import against, all_of, first, iterated, logits, survivors
from steelman.evaluation.checks.trust_check import failed, passed, skipped
from steelman.losses import cross_entropy
from steelman.records import Trust
from steelman.victim import Victim

_CLOSE = 1e-3
"""Difference of two answers, as a share of the largest logit, that rounding in another order can make."""


def evaluation_mode(context: CheckContext) -> Finding:
    """Returns whether the model is in evaluation mode.

    One that stays in training mode whatever it is told is attacked while it moves: such a figure is inflated. One that
    was merely handed in so was measured in evaluation mode, which is not how it answers as it is.
    """
    model = context.given
    x, y, _ = context.take(first(context, 64))
    left = _training(model)
    with Victim(model, seed=context.seed, device=x.device, abstention="a class") as victim:
        stays = _training(model)
        calm = victim.logits(x, y)
    if stays:
        return failed(f"{_some(stays)} although eval() was called.")
    if not left:
        return passed(f"None of {_count(len(list(model.modules())))} is in training mode.")
    with Victim(model, seed=context.seed, device=x.device, mode="as it is", abstention="a class") as victim:
        differ = int(_apart(victim.logits(x, y), calm).sum())
    if differ:
        message = f"As it was handed in, {_some(left)} and {differ} of {len(x)} answers are other ones."
        return failed(message, on_fail=Trust.CANNOT_TELL)
    return passed(f"{_count(len(left))} in training mode, which changes none of {len(x)} answers.")


def same_twice(context: CheckContext) -> Finding:
    """Returns whether an image gets the same answer twice, or answers are averaged over draws."""
    x, y, _ = context.take(first(context, 64))
    with Victim(context.attacker.pipeline, seed=context.seed, device=x.device, abstention="a class") as victim:
        differ = int((victim.logits(x, y) != victim.logits(x, y)).any(1).sum())
    if not differ:
        return passed(f"All {len(x)} images got the same answer twice.")
    message = f"{differ} of {len(x)} images got another answer the second time"
    if context.attacker.random:
        return passed(f"{message}; every look is the mean of {context.attacker.draws} draws (EOT).")
    return failed(f"{message}, and no attack averages over draws.", on_fail=Trust.CANNOT_TELL)


def same_in_any_batch(context: CheckContext) -> Finding:
    """Returns whether an image's answer depends on what else is in its batch.

    Where it does, an attack on a batch of attacked images chases a target that moves with the others, and what it finds
    says little of an image alone: the figure is inflated.
    """
    x, y, _ = context.take(first(context, 32))
    if context.attacker.random:
        return skipped("Answers differ anyway, from look to look.")
    with Victim(context.attacker.pipeline, seed=context.seed, device=x.device, abstention="a class") as victim:
        together = victim.logits(x, y)
        turned = victim.logits(x.flip(0), y.flip(0)).flip(0)
        try:
            alone = torch.cat([victim.logits(x[at : at + 1], y[at : at + 1]) for at in range(len(x))])
        except InputError:
            raise
        except (ValueError, RuntimeError) as error:
            return failed(f"An image alone is refused: {str(error).splitlines()[0]}", on_fail=Trust.CANNOT_TELL)
    other, order = int(_apart(alone, together).sum()), int(_apart(turned, together).sum())
    message = f"Of {len(x)} images {other} got another answer alone than in a batch, {order} in another order."
    return failed(message) if max(other, order) > 0.1 * len(x) else passed(message)


def gives_logits(context: CheckContext) -> Finding:
    """Returns whether the model gives logits, and if not, whether an attack on their logarithm breaks more."""
    x, y, _ = context.take(first(context, 64))
    found = logits(context, x, y)
    sums = torch.isclose(found.sum(1), torch.ones_like(found[:, 0]), atol=1e-4)
    odd = int((sums & (found >= 0).all(1)).sum())
    if odd < len(x):
        return passed(f"On {len(x) - odd} of {len(x)} images the outputs are not shares of one.")
    message = f"On all {len(x)} images the outputs are shares of one, as after a softmax"
    if not context.attacker.paths:
        return failed(f"{message}.", on_fail=Trust.CANNOT_TELL)
    attack = iterated(context.threat, loss=of_probabilities, name="pgd on log-probabilities")
    trial = against(context, attack, survivors(context, 64))
    message = f"{message}. {trial.words('PGD on their logarithm')}"
    return failed(message, on_fail=Trust.INFLATED if trial.much else Trust.CANNOT_TELL, escalate=all_of(attack, trial))


def of_probabilities(shares: Tensor, y: Tensor) -> Tensor:
    """Returns (N,): the cross-entropy, of a model that gives probabilities, (N, K)."""
    return cross_entropy(shares.clamp_min(torch.finfo(shares.dtype).tiny).log(), y)


def _training(model: nn.Module) -> list[str]:
    return [f"{name or 'the model'} ({type(part).__name__})" for name, part in model.named_modules() if part.training]


def _some(names: list[str]) -> str:
    verb = "is" if len(names) == 1 else "are"
    return f"{_count(len(names))} {verb} in training mode, as {names[-1]},"


def _count(number: int) -> str:
    return f"{number} module{'' if number == 1 else 's'}"


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """(N,) bool: which answers differ by more than rounding."""
    return (one - other).abs().amax(1) > _CLOSE * other.abs().amax(1)
