"""A plug-in of steelman: one of each kind of thing that it has catalogues of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman import training
from steelman.attacks import Asks, Finds, Result, Single
from steelman.defences import input_checks
from steelman.defences.detectors import Watched
from steelman.evaluation.checks import CheckContext, Finding, failed, passed
from steelman.norms import column
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Victim


@dataclass(frozen=True)
class Corners(Single):
    """Tries corners of the ball at random, by decisions alone, and keeps the first that is misread."""

    threat: Threat
    tries: int = 20

    name = "sample-corners"
    targeted = False
    asks = Asks.DECISIONS
    finds = Finds.WITHIN

    def __call__(self, model: Any, x: Tensor, y: Tensor, *, seed: int = 0, indices: Any = None, **rest: Any) -> Result:
        streams = Streams.of(seed, torch.arange(len(x)) if indices is None else indices)
        with Victim(model, seed=seed, device=x.device) as victim:
            found, broken = x.clone(), victim.logits(x, y).argmax(1) != y
            natural = broken.clone()
            for turn in range(self.tries):
                signs = streams.derive("corner").derive(turn).uniform(x).sub(0.5).sign()
                tried = self.threat.project(x + column(self.threat.eps, x) * signs, around=x)
                hit = ~broken & (victim.logits(tried, y).argmax(1) != y)
                found[hit], broken = tried[hit], broken | hit
        margin, spent = torch.where(broken, 1.0, -1.0), torch.full_like(y, self.tries + 1)
        by, distance = torch.where(broken & ~natural, 0, -1), self.threat.distance(found, around=x)
        return Result(found, broken, natural, margin, distance, spent, torch.zeros_like(y), by)


class Blur(nn.Module):
    """Each pixel the mean of the size×size around it."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.settings = {"size": size}
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x)
        return F.avg_pool2d(x, self.size, 1, self.size // 2)


class Tint(nn.Module):
    """A 3×3 convolution that learns which tint to take away."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.settings = {"channels": channels}
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x)
        return (x + 0.1 * self.layer(x)).clamp(0, 1)


tint = training.PurifierTraining(Tint, recipe=training.Recipe(epochs=1, batch_size=16, rate=0.01))


class Darkness(nn.Module):
    """Scores images by how far their brightness is from that of clean ones."""

    name = "sample-darkness"
    usual: Tensor

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.settings: dict[str, object] = {}
        self.watched = Watched(classifier=classifier)
        self.register_buffer("usual", torch.zeros(()))

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Darkness:
        self.usual = x.mean()
        return self

    def score(self, x: Tensor) -> Tensor:
        input_checks.check(self, x)
        return (x.mean((1, 2, 3)) - self.usual).abs()


def linear(channels: int, classes: int) -> nn.Module:
    """Returns a linear classifier of images of 8×8."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, classes))


@dataclass(frozen=True)
class Noise:
    """Cross-entropy on images with noise of the threat's radius."""

    threat: Threat

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        x, y = batch
        return F.cross_entropy(model((x + float(self.threat.eps) * torch.randn_like(x)).clamp(0, 1)), y)

    def validate(self, model: nn.Module, validation: Any) -> dict[str, float]:
        return {"accuracy": training.accuracy(model, validation)}


def noise(threat: Any) -> Noise:
    """Returns the objective of a threat."""
    return Noise(Threat.of(threat))


def range_of_pixels(context: CheckContext) -> Finding:
    """Pixels use the whole of [0, 1]."""
    said = f"Pixels lie from {float(context.x.min()):.2f} to {float(context.x.max()):.2f}."
    return passed(said) if float(context.x.max() - context.x.min()) > 0.5 else failed(said)
