"""Whom a robust classifier is trained against, and how what it withstands is judged."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from steelman.attacks import Asks, AttackLike, Entry, Finds, Last, Worst, named
from steelman.attacks.attack_like import on_each
from steelman.errors import InputError
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.checkpoint import Examples
from steelman.training.objectives.classify import accuracy

AttackRecipe = Callable[..., AttackLike]


def opponent(
    attack: str | AttackRecipe, threat: Threat | Ball, *, steps: int | None = None, size: float | None = None
) -> AttackLike:
    """Returns an attack of a threat as it is trained on: every step of it is taken, whatever breaks before.

    The last candidate is kept, since the end of an ascent is wanted; where no gradient is followed, the worst one.
    attack: a recipe, or its name in the catalogue.  steps, size: of an attack that has them; its own unless told.
    Raises InputError for an unknown name, for steps or a size that the attack does not have, and for what no batch can
    be trained on: a cascade, an attack that looks for the smallest change, goes outside every ball, needs another
    model, or learns one change for all images.
    """
    recipe = named(attack) if isinstance(attack, str) else attack
    own = recipe.recipe if isinstance(recipe, Entry) else recipe
    called = attack if isinstance(attack, str) else getattr(attack, "__name__", "the attack")
    if isinstance(recipe, Entry) and (recipe.finds is not Finds.WITHIN or recipe.surrogate):
        why = "needs another model" if recipe.surrogate else f"finds what is {recipe.finds}"
        raise _unfit(called, why)
    given = {name: value for name, value in (("steps", steps), ("size", size)) if value is not None}
    refused = sorted(given.keys() - inspect.signature(own).parameters.keys())
    if refused:
        raise InputError(f"expected no {refused[0]} for {called}, which has none: leave it out")
    made = own(threat, **given)
    if not on_each(made):
        raise _unfit(called, "is several attacks in one, or learns from many images")
    if made.finds is Finds.NEAREST:
        raise _unfit(called, "looks for the smallest change")
    return made.with_goal(Last() if made.asks is Asks.GRADIENTS else Worst())


def _unfit(name: str, why: str) -> InputError:
    return InputError(f"expected an attack within eps to train on, got {name}, which {why}: say pgd or fgsm")


def ramped(attack: AttackLike, ramp: float, done: float) -> AttackLike:
    """Returns the attack of this moment: its eps rises evenly from 0 over the first part of the training.

    ramp: that part, as a share of the whole; 0 for all of eps at once.  done: what is over, as a share.
    """
    return attack.at(attack.threat.eps * done / ramp) if done < ramp else attack


def x_adv(model: nn.Module, attack: AttackLike, x: Tensor, y: Tensor) -> Tensor:
    """Returns what an attack makes of (x, y), (N, *S), from a seed that torch's generator draws.

    The model is attacked in evaluation mode, in the precision that the fit runs in.
    """
    seed = int(torch.randint(2**31, ()))
    return attack(model, x, y, seed=seed, slots=len(x), precision=searching(x)).x


def withstood(model: nn.Module, val: AttackLike, validation: Examples) -> Mapping[str, float]:
    """Returns the accuracy under an attack, and on clean images."""
    device = next(model.parameters()).device
    x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
    found = val(model, x, y, precision=searching(x))
    return {f"{val.name} {val.threat.eps:g}": found.accuracy, "clean": accuracy(model, validation)}


def answered(model: nn.Module, x: Tensor) -> Tensor:
    """Returns (N, K): the logits of images, in single precision or better whatever the model computes in."""
    logits: Tensor = model(x)
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def searching(x: Tensor) -> str:
    """The precision that the fit runs in; an attack's own would otherwise take its place."""
    return "bf16" if torch.is_autocast_enabled(x.device.type) else "fp32"
