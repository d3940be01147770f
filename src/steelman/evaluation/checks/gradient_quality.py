"""Is there a gradient, and does it say what a step does?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from steelman.attacks import blurred
from steelman.attacks.settings import largest
from steelman.errors import InputError
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.recheck import against, all_of, asked, first, iterated, logits, survivors, way
from steelman.evaluation.checks.trust_check import failed, passed, skipped
from steelman.losses import cross_entropy, margin
from steelman.norms import column
from steelman.records import GradientKind, Trust
from steelman.streams import Streams

_NEAR, _STEP = 0.1, 0.01
"""Of eps: how far away gradients are compared, and how long a step is whose rise is foretold."""

_ALIKE, _OFF = 0.5, 0.5
"""The cosine that gradients a little apart must have, and by what share a rise may differ from what was foretold."""


_STANDS_IN = "The gradient is a stand-in's, which need not say what a step does"


def gradients(context: CheckContext) -> Finding:
    """Returns whether a gradient reaches the image, stage by stage and of the loss.

    Where a stage has none, an attack goes through a stand-in, and nobody knows how far that leads astray.
    """
    rows = first(context, 64)
    dead = [stage for stage in context.attacker.stages if not stage.gradient.usable]
    stages = "; ".join(f"stage {s.name} has {_kind(s.gradient)} on {1 - s.share:.0%} of the images" for s in dead)
    if not context.attacker.paths:
        return failed(f"No gradient comes through: {stages}.", on_fail=Trust.CANNOT_TELL)
    x, y, indices = context.take(rows)
    try:
        grad = asked(context, x, y, indices, cross_entropy).grad.flatten(1)
    except InputError as error:
        return failed(f"On {len(x)} images: {error}", on_fail=Trust.CANNOT_TELL)
    flat = int((grad == 0).all(1).sum())
    loss = f"The loss has a gradient of zero on {flat} of {len(x)} images, through {way(context).title}"
    if dead:
        return failed(f"{stages[0].upper()}{stages[1:]}. {loss}.", on_fail=Trust.CANNOT_TELL)
    message = f"All {len(context.attacker.stages)} stages have a gradient. {loss}."
    return failed(message, on_fail=Trust.CANNOT_TELL) if flat > 0.1 * len(x) else passed(message)


def saturation(context: CheckContext) -> Finding:
    """Returns whether the softmax rounds to 0 and 1, and if so, whether an attack that this cannot stop breaks more.

    The usual cross-entropy in float32 then has a gradient of zero.
    Source: Carlini & Wagner 2017, section V.E; Croce & Hein 2020, section 4.1, for the scale of logits.
    """
    x, y, _ = context.take(first(context, 100))
    found = logits(context, x, y, draws=context.attacker.draws)
    flat = _saturated(found, y)
    message = f"The softmax in float32 leaves no gradient on {flat} of {len(x)} images"
    if flat <= len(x) / 2:
        return passed(f"{message}.")
    attack = iterated(context.threat, name="pgd on the margin")
    trial = against(context, attack, survivors(context, 100))
    message = f"{message}. {trial.words('PGD on the margin')}"
    return failed(message, escalate=(attack,)) if trial.much else passed(message, escalate=all_of(attack, trial))


def smoothness(context: CheckContext) -> Finding:
    """Returns whether gradients are shattered, and if so, whether their mean over a neighbourhood breaks more.

    Gradients are compared with those at a random place a tenth of eps away, by their cosine, and the rise of the margin
    over a step of a hundredth of eps with what the gradient foretells. Of a stand-in's gradient only the mean is tried.
    Source: Balduzzi et al. 2017 for the word; the remedy is that of Tramèr et al. 2020, section 5.
    """
    if context.attacker.random:
        return skipped(f"Answers differ from look to look; gradients are means of {context.attacker.draws}.")
    stands_in = any(stage.gradient is not GradientKind.EXACT for stage in context.attacker.stages)
    message, smooth = (_STANDS_IN, False) if stands_in else _slopes(context)
    if smooth:
        return passed(f"{message}.")
    sigma = largest(context.threat.eps) * _spread(context) / 2
    attack = iterated(context.threat, name="pgd on mean gradients").through(blurred(sigma, 20))
    quick = iterated(context.threat, steps=20).through(blurred(sigma, 10))
    trial = against(context, quick, survivors(context, 48))
    message, escalate = f"{message}. {trial.words('PGD on gradients averaged around the image')}", all_of(attack, trial)
    if trial.much:
        return failed(message, escalate=escalate)
    if stands_in:
        return passed(message, escalate=escalate)
    return failed(message, on_fail=Trust.CANNOT_TELL, escalate=escalate)


def _slopes(context: CheckContext) -> tuple[str, bool]:
    """What gradients near each other, and steps along them, say of each other; and whether that is as it should be."""
    rows = first(context, 32)
    cosine, ratio = _alike(context, rows), _foretold(context, rows)
    message = (
        f"On {len(rows)} images gradients a tenth of eps apart have a cosine of {cosine:.2f} in the median, and a step "
        f"along one changes the loss by {ratio:.2f} of what it foretells"
    )
    return message, cosine >= _ALIKE and abs(ratio - 1) <= _OFF


def _kind(gradient: GradientKind) -> str:
    return "no gradient" if gradient is GradientKind.NONE else f"a gradient of {gradient}"


def _saturated(found: Tensor, y: Tensor) -> int:
    with torch.enable_grad():
        given = found.detach().float().requires_grad_()
        loss = F.cross_entropy(given, y, reduction="sum")
        return int((torch.autograd.grad(loss, given)[0] == 0).all(1).sum())


def _alike(context: CheckContext, rows: Tensor) -> float:
    x, y, indices = context.take(rows)
    streams = Streams.of(context.seed, indices.to(x.device)).derive("near")
    near = context.threat.at(_NEAR * largest(context.threat.eps)).sample(streams, around=x)
    here, there = (asked(context, at, y, indices, margin).grad.flatten(1) for at in (x, near))
    return float(F.cosine_similarity(here, there).median())


def _foretold(context: CheckContext, rows: Tensor) -> float:
    """The median of what a small step along the gradient gains, over what the gradient says it gains."""
    x, y, indices = context.take(rows)
    here = asked(context, x, y, indices, margin)
    step = context.threat.steepest(here.grad, at=x) * column(_STEP * largest(context.threat.eps), x)
    moved = (x + step).clamp(context.threat.low, context.threat.high)
    gain = asked(context, moved, y, indices, margin).value - here.value
    said = (here.grad * (moved - x)).flatten(1).sum(1)
    return float((gain / said)[said > 0].nanmedian()) if bool((said > 0).any()) else 0.0


def _spread(context: CheckContext) -> float:
    """The standard deviation of one pixel, in units of eps, of a change as large as the ball."""
    pixels = context.x.shape[1:].numel()
    return float(pixels ** -(1 - 1 / context.threat.ball.dual))
