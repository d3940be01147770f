"""The binarisation test: an attack must find what is certain to be there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from steelman.attacks import Attack, Worst, pgd
from steelman.attacks.gradients import Borrowed
from steelman.errors import InputError
from steelman.evaluation.checks.claims import failed, passed, skipped
from steelman.evaluation.checks.readout import Features, Fitted, Readouts, fit, inner, last_linear, on_sphere
from steelman.evaluation.checks.subject import Finding, Subject
from steelman.evaluation.checks.trial import first, logits, way
from steelman.evaluation.even import Even
from steelman.losses import margin
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
class Test:
    """What came of the test.

    parted: (N,) bool, images with a readout that tells their points apart; found: (N,) bool, where the attack crosses
    to the other side, chanced: (N,) bool, where a random point of the sphere does.
    """

    parted: Tensor
    found: Tensor
    chanced: Tensor


def binarisation(subject: Subject) -> Finding:
    """Returns whether PGD, made as on the pipeline, finds points that exist by construction.

    For each image the network's last linear layer is replaced by one with two classes that tells 999 random points
    nearer than .95 eps, and the image, from one random point on the sphere. What is adversarial then exists for sure.
    Source: Zimmermann, Brendel, Tramèr & Carlini 2022 (Increasing confidence in adversarial robustness evaluations),
    section 3 and algorithm 1. The readout differs (see `readout.fit`), and 32 images stand for the paper's 512.
    """
    name = "binarisation"
    if abstains(subject.attacker.pipeline):
        return skipped(name, "Of a model that may abstain the last layer does not say it all.")
    way(subject)
    rows = first(subject, _IMAGES)
    test = tested(subject, pgd(subject.threat, loss=margin), rows)
    usable, hits = int(test.parted.sum()), int((test.found & test.parted).sum())
    chanced = int((test.chanced & test.parted).sum())
    if 2 * usable < len(rows):
        return skipped(name, f"A linear readout tells the points apart on {usable} of {len(rows)} images alone.")
    told = (
        f"PGD found the point that was put there on {hits} of {usable} images, {RANDOM} random points on {chanced}; "
        f"the mark is {MARK:.0%}."
    )
    if 2 * chanced > usable:
        return skipped(name, f"{told} Where chance finds it, the test says nothing.")
    return passed(name, told) if hits >= MARK * usable - 1 else failed(name, told, says="cannot tell")


def tested(subject: Subject, attack: Attack, rows: Tensor, *, near: int = INNER, far: int = OUTER) -> Test:
    """Returns what came of the test on some images, with an attack that needs gradients.

    near, far: how many points of each kind.
    Raises InputError where the network has no features to read.
    """
    x, y, indices = subject.take(rows)
    streams = Streams.of(subject.seed, indices.to(x.device)).derive("binarisation")
    through = way(subject)
    answers = logits(subject, x, y)
    spread = float(answers.max() - answers.min())
    layer = last_linear(subject.attacker.pipeline, x[:8], answers.shape[1])
    features = Features(subject.attacker.pipeline, layer)
    with Victim(features, seed=subject.seed, device=x.device), torch.no_grad():
        fits = [_readout(subject, features, x, streams, at, near, far, spread) for at in range(len(x))]
        weight = torch.stack([one.weight for one in fits]).to(x.dtype)
        bias = torch.stack([one.bias for one in fits]).to(x.dtype)
        read = Readouts(features, weight, bias)
        chanced = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for turn in range(RANDOM):
            chanced |= _crosses(read, on_sphere(subject.threat, x, streams.derive(f"random {turn}")))
    gradient = through.gradient
    if isinstance(gradient, Borrowed):
        gradient = replace(gradient, stand_in=_read(gradient.stand_in, layer, weight, bias))
    # Every image stays in its row: all are begun at once, take every step and none leaves.
    made = replace(attack, gradient=gradient, goal=Worst(), restarts=1)
    model = Even(_read(through.model, layer, weight, bias))
    result = made(model, x, torch.zeros_like(y), seed=subject.seed, indices=indices, slots=len(x))
    parted = torch.tensor([one.parts for one in fits], device=x.device)
    return Test(parted, result.broken, chanced)


def _readout(
    subject: Subject, features: Features, x: Tensor, streams: Streams, at: int, near: int, far: int, spread: float
) -> Fitted:
    """The readout of one image; of a random network features are those of one draw a point."""
    image, own = x[at : at + 1], Streams(streams.key[at : at + 1])
    inside = _drawn(own.derive("near"), near)
    points = torch.cat([image, inner(subject.threat, image.expand(near, *x.shape[1:]), inside)])
    outside = on_sphere(subject.threat, image.expand(far, *x.shape[1:]), _drawn(own.derive("far"), far))
    found = torch.cat([features(part) for part in torch.cat([points, outside]).split(_BATCH)])
    if not bool(torch.isfinite(found).all()):
        raise InputError("expected finite features, got NaN or infinite ones")
    return fit(found[: len(points)], found[len(points) :], spread)


def _drawn(own: Streams, count: int) -> Streams:
    """Streams of so many points of one image."""
    return Streams(own.key.expand(count)).derive(torch.arange(count, device=own.key.device))


def _crosses(read: Readouts, x: Tensor) -> Tensor:
    answered = read(x)
    return answered[:, 1] >= answered[:, 0]


def _read(model: object, layer: nn.Module | None, weight: Tensor, bias: Tensor) -> Readouts:
    """A model with the readouts in place of its last layer."""
    assert callable(model)
    return Readouts(Features(model, layer), weight, bias)
