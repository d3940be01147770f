"""The binarisation test: an attack must find what is certain to be there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from steelman.attacks import Attack, Worst, apgd, standard
from steelman.attacks.engine.estimators import Borrowed
from steelman.errors import InputError
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.readout import Fitted, PenultimateFeatures, Readouts, fit, inner, last_linear, on_sphere
from steelman.evaluation.checks.recheck import first, logits, way
from steelman.evaluation.checks.trust_check import failed, passed, skipped
from steelman.evaluation.padding import PadBatch
from steelman.records import Trust
from steelman.streams import Streams
from steelman.victim import Victim, abstains

INNER, OUTER = 999, 1
"""Points near each image, and on its sphere: the paper's."""

RANDOM = 100
"""Random points on the sphere with which the attack is compared."""

MARK = 0.95
"""The share of the images on which the attack must find what is there."""

_IMAGES = 32
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Planted:
    """What came of the test.

    parted: (N,) bool, images with a readout that tells their points apart; found: (N,) bool, where the attack crosses
    to the other side, chanced: (N,) bool, where a random point of the sphere does.
    """

    parted: Tensor
    found: Tensor
    chanced: Tensor


def binarisation(context: CheckContext) -> Finding:
    """Returns whether iterated attacks, made as on the pipeline, find points that exist by construction.

    For each image the network's last linear layer is replaced by one with two classes that tells 999 random points
    nearer than .95 eps, and the image, from one random point on the sphere. What is adversarial then exists for sure.
    Source: Zimmermann, Brendel, Tramèr & Carlini 2022 (Increasing confidence in adversarial robustness evaluations),
    section 3 and algorithm 1. The readout differs (see `readout.fit`), 32 images stand for the paper's 512, and one
    image besides may be missed.
    """
    if abstains(context.attacker.pipeline):
        return skipped("Of a model that may abstain the last layer does not say it all.")
    if context.attacker.random:
        return skipped("Features are drawn anew with every look, so that no readout can be sure of them.")
    way(context)
    rows = first(context, _IMAGES)
    attacks = [*standard(context.threat).attacks[:3], apgd(context.threat)]
    test = planted(context, attacks, rows, near=INNER, far=OUTER)
    usable, hits = int(test.parted.sum()), int((test.found & test.parted).sum())
    chanced = int((test.chanced & test.parted).sum())
    if 2 * usable < len(rows):
        return skipped(f"A linear readout tells the points apart on {usable} of {len(rows)} images alone.")
    message = (
        f"Iterated attacks found what had been put on the sphere of {hits} of {usable} images, {RANDOM} random points "
        f"that of {chanced}; the mark is {MARK:.0%}."
    )
    if 2 * chanced > usable:
        return skipped(f"{message} Where chance finds it, the test says nothing.")
    return passed(message) if hits >= MARK * usable - 1 else failed(message, on_fail=Trust.CANNOT_TELL)


def planted(
    context: CheckContext, attacks: Sequence[Attack], rows: Tensor, *, near: int = INNER, far: int = OUTER
) -> Planted:
    """Returns what came of the test on some images, with attacks that need gradients, until all is found.

    near, far: how many points of each kind.
    Raises InputError where no gradient comes through, or features are not finite.
    """
    x, y, indices = context.take(rows)
    through = way(context)
    fitted, layer = _fitted(context, x, y, indices, near, far)
    weight, bias = torch.stack([one.weight for one in fitted]).to(x), torch.stack([one.bias for one in fitted]).to(x)
    model, gradient = PadBatch(_read(through.model, layer, weight, bias)), through.gradient
    if isinstance(gradient, Borrowed):
        gradient = replace(gradient, stand_in=_read(gradient.stand_in, layer, weight, bias))
    found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    parted = torch.tensor([one.parts for one in fitted], device=x.device)
    for attack in attacks:
        if bool(found[parted].all()):
            break
        # Every image stays in its row: all are begun at once, take every step and none leaves.
        made = replace(attack, gradient=gradient, goal=Worst(), restarts=1)
        result = made(model, x, torch.zeros_like(y), seed=context.seed, indices=indices, slots=len(x))
        found |= result.broken
    chanced = _chanced(context, _read(context.attacker.pipeline, layer, weight, bias), x, indices)
    return Planted(parted, found, chanced)


def _fitted(
    context: CheckContext, x: Tensor, y: Tensor, indices: Tensor, near: int, far: int
) -> tuple[list[Fitted], nn.Module | None]:
    """A readout for each image, and the layer whose place it takes; its logits go as far as the network's own."""
    answers = logits(context, x, y)
    pipeline, streams = context.attacker.pipeline, _streams(context, x, indices)
    with Victim(pipeline, seed=context.seed, device=x.device), torch.no_grad():
        layer = last_linear(pipeline, x[:8], answers.shape[1])
        features, spread = PenultimateFeatures(pipeline, layer), float(answers.max() - answers.min())
        return [_readout(context, features, x, streams, at, near, far, spread) for at in range(len(x))], layer


def _chanced(context: CheckContext, read: Readouts, x: Tensor, indices: Tensor) -> Tensor:
    """(N,) bool: where any of some random points of the sphere is on the other side."""
    streams = _streams(context, x, indices)
    found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    with Victim(read, seed=context.seed, device=x.device), torch.no_grad():
        for turn in range(RANDOM):
            answered = read(on_sphere(context.threat, x, streams.derive(f"random {turn}")))
            found |= answered[:, 1] >= answered[:, 0]
    return found


def _streams(context: CheckContext, x: Tensor, indices: Tensor) -> Streams:
    return Streams.of(context.seed, indices.to(x.device)).derive("binarisation")


def _readout(
    context: CheckContext,
    features: PenultimateFeatures,
    x: Tensor,
    streams: Streams,
    at: int,
    near: int,
    far: int,
    spread: float,
) -> Fitted:
    """The readout of one image; of a random network features are those of one draw a point."""
    image, own = x[at : at + 1], Streams(streams.key[at : at + 1])
    inside = _drawn(own.derive("near"), near)
    points = torch.cat([image, inner(context.threat, image.expand(near, *x.shape[1:]), inside)])
    outside = on_sphere(context.threat, image.expand(far, *x.shape[1:]), _drawn(own.derive("far"), far))
    found = torch.cat([features(part) for part in torch.cat([points, outside]).split(_BATCH)])
    if not bool(torch.isfinite(found).all()):
        raise InputError("expected finite features, got NaN or infinite ones")
    return fit(found[: len(points)], found[len(points) :], spread)


def _drawn(own: Streams, count: int) -> Streams:
    """Streams of so many points of one image."""
    return Streams(own.key.expand(count)).derive(torch.arange(count, device=own.key.device))


def _read(model: Callable[[Tensor], Tensor], layer: nn.Module | None, weight: Tensor, bias: Tensor) -> Readouts:
    """A model with the readouts in place of its last layer."""
    return Readouts(PenultimateFeatures(model, layer), weight, bias)
