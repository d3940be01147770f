"""Small pipelines whose truth is known, and what the trust checks look at of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from steelman import attacks
from steelman.evaluation.checks import CheckContext
from steelman.evaluation.planning.attacker import probe_pipeline
from steelman.evaluation.planning.attempts import attempts
from steelman.losses import margin
from steelman.norms import Ball, Linf
from steelman.threat import Threat


def linear(scale: float = 1.0) -> nn.Sequential:
    """Returns a linear classifier of 64 pixels and 3 classes."""
    generator = torch.Generator().manual_seed(1)
    layer = nn.Linear(64, 3)
    layer.weight.data = scale * torch.randn(3, 64, generator=generator)
    layer.bias.data.zero_()
    return nn.Sequential(nn.Flatten(), layer).eval()


def noise(n: int = 64) -> Tensor:
    """Returns (n, 1, 8, 8): images well inside the box."""
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25


def subject_of(
    pipeline: nn.Module,
    *,
    ball: Ball | None = None,
    x: Tensor | None = None,
    holds: bool | None = None,
    seed: int = 0,
    **others: Any,
) -> CheckContext:
    """Returns the context of a pipeline on images that it reads as its labels.

    holds: of every image, as after an evaluation that broke nothing or all; unless told what 40 steps of PGD leave.
    """
    threat = Threat.of(Linf(0.05) if ball is None else ball)
    x = noise() if x is None else x
    modes = [(part, part.training) for part in pipeline.modules()]
    pipeline.eval()
    with torch.no_grad():
        y = pipeline(x).argmax(1)
    for part, training in modes:
        part.training = training
    attacker, indices = probe_pipeline(pipeline, x, y, seed=seed), torch.arange(len(x))
    if holds is None:
        attempt = next(iter(attempts(attacker, [attacks.pgd(threat, loss=margin)])))
        kept = ~attempt(attacker, x, y, indices=indices.to(x.device), seed=seed, precision="fp32").broken
    else:
        kept = torch.full((len(x),), holds, device=x.device)
    fields = {
        "attacker": attacker,
        "given": pipeline,
        "undefended": None,
        "threat": threat,
        "x": x,
        "y": y,
        "indices": indices,
        "holds": kept,
        "static": None,
        "n": len(x),
        "kept": int(kept.sum()),
        "largest": 0.4,
        "seed": seed,
    }
    return CheckContext(**fields | others)


def distance(pipeline: nn.Sequential, x: Tensor) -> Tensor:
    """Returns (N,): the Linf distance of images to the nearest boundary of a linear classifier."""
    layer = pipeline[1]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        logits = pipeline(x)
        y = logits.argmax(1)
        gaps = logits.gather(1, y[:, None]) - logits
        slopes = (layer.weight[y][:, None] - layer.weight[None]).abs().sum(2)
        return (gaps / slopes).scatter(1, y[:, None], torch.inf).amin(1)


@pytest.fixture
def context() -> Callable[..., CheckContext]:
    return subject_of


@pytest.fixture
def sound() -> Callable[..., nn.Sequential]:
    return linear


@pytest.fixture
def exact() -> Callable[..., Tensor]:
    return distance
