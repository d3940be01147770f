"""The attacker who knows the whole pipeline: what each stage does to a gradient, and which paths lead through."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from steelman.attacks import Asks, AttackLike, averaged, borrowed, catalogue, square
from steelman.attacks.engine.estimators import Estimator, exact
from steelman.attacks.settings import largest
from steelman.defences import StraightThrough
from steelman.evaluation.planning.stages import chain, differs, gradient, look, stages
from steelman.pipeline import Pipeline
from steelman.records import Stage
from steelman.victim import Victim

DRAWS = 10
"""Answers of a random model that are averaged."""

_LOOKS = 32
"""Images by which stages are judged."""

WHOLE = "the whole pipeline"


@runtime_checkable
class Replaceable(Protocol):
    """A stage that knows what an attacker should differentiate in its place."""

    def backward_approximations(self) -> Mapping[str, nn.Module]:
        """Returns modules of the same images by what they are called, as in "class-marginal".

        One that gives logits, (N, K), stands in for all that follows as well.
        """
        ...


@dataclass(frozen=True, eq=False)
class GradientPath:
    """One way for a gradient through a pipeline.

    title: as a report names it.  model: what is attacked; it answers as the pipeline does.
    gradient: how it is asked.
    """

    title: str
    model: nn.Module
    gradient: Estimator


@dataclass(frozen=True, eq=False)
class Attacker:
    """What is known of a pipeline, and how to attack it.

    pipeline: in evaluation mode.  stages: what each does to a gradient.  paths: for gradients, the best first; none
    where no gradient comes through.
    draws: answers that each look takes, 1 of a pipeline that answers the same when it is asked twice.
    gradient_masked: some stage has no usable gradient, so that attacks without gradients belong to a full attack.
    """

    pipeline: nn.Module
    stages: tuple[Stage, ...]
    paths: tuple[GradientPath, ...]
    draws: int
    gradient_masked: bool

    @property
    def random(self) -> bool:
        """Whether the pipeline answers differently when it is asked twice."""
        return self.draws > 1

    @property
    def look(self) -> Estimator:
        """How the pipeline is asked without a gradient of interest."""
        return _asked(self.draws)

    def prepared(self, attack: AttackLike) -> Iterator[tuple[str, nn.Module, AttackLike]]:
        """Yields (way, model, attack): an attack as it is made on this pipeline, once for each way through.

        A cascade through a random pipeline is cut to its first parts, which are made on every image, and ends with
        steps that are all taken: there an image that once seemed broken may hold on fresh draws.
        """
        if attack.asks is not Asks.GRADIENTS:
            yield WHOLE, self.pipeline, attack.through(self.look)
            return
        for way in self.paths:
            for one in attack.for_random() if self.random else (attack,):
                yield way.title, way.model, one.through(way.gradient)
        if not self.paths:
            for part in attack.without_gradients():
                yield WHOLE, self.pipeline, part.through(self.look)

    def fallbacks(self, attack: AttackLike) -> Iterator[tuple[str, nn.Module, AttackLike]]:
        """Yields what a full attack inside the same threat takes besides: without gradients where they are no guide."""
        threat = attack.threat
        able = threat.ball.name in catalogue["square"].norms and math.isfinite(largest(threat.eps))
        if self.gradient_masked and able and "square" not in attack.parts():
            yield WHOLE, self.pipeline, square(threat).through(self.look)


def probe_pipeline(pipeline: nn.Module, x: Tensor, y: Tensor, *, seed: int = 0, draws: int = DRAWS) -> Attacker:
    """Returns the attacker who knows a pipeline, having tried every stage on some images.

    A stage whose gradient is none, zero or NaN on most images is replaced, backwards, by the identity where its shapes
    allow (BPDA), whatever stands in it; one that offers stand-ins of its own is attacked through each of these too.
    x: (N, *S), y: (N,), of which the first few are looked at.  draws: answers to average where it is random, >= 2.
    Source: BPDA and EOT of Athalye et al. 2018 (Obfuscated gradients), section 4.
    """
    x, y = x[:_LOOKS], y[:_LOOKS]
    with Victim(pipeline, seed=seed, device=x.device):
        draws = draws if differs(pipeline, x) else 1
        looks = list(stages(pipeline, x))
        beside = pipeline.detector if isinstance(pipeline, Pipeline) else None
        found = [seen.stage for seen in looks]
        found += [look("detector", beside, x).stage] if beside is not None else []
    dead = [seen for seen in looks if not seen.stage.gradient.usable]
    same = [seen for seen in dead if seen.keeps_shape]
    paths: list[GradientPath] = []
    if len(same) == len(dead):
        swapped = _swapped(pipeline, {id(seen.module): StraightThrough(seen.module) for seen in same})
        titles = [seen.stage.name for seen in same]
        title = f"BPDA: {', '.join(titles)} as the identity" if same else WHOLE
        paths.append(GradientPath(title, swapped, _asked(draws)))
    with Victim(pipeline, seed=seed, device=x.device):
        paths += _backward_approximations(pipeline, x, draws)
    return Attacker(pipeline, tuple(found), tuple(paths), draws, bool(dead))


def _backward_approximations(pipeline: nn.Module, x: Tensor, draws: int) -> list[GradientPath]:
    paths = []
    for name, module in pipeline.named_modules():
        if isinstance(module, Replaceable):
            for title, other in module.backward_approximations().items():
                model = _stood_in(pipeline, module, other, x)
                called = f"{name} ({type(module).__name__}) as {title}".lstrip()
                if gradient(model, x)[0].usable:
                    paths.append(GradientPath(called, pipeline, borrowed(model, called, draws)))
    return paths


def _stood_in(pipeline: nn.Module, module: object, other: nn.Module, x: Tensor) -> nn.Module:
    """The pipeline with another module in the place of one, and of all that follows if it gives logits itself."""
    parts = [part for _, part in chain(pipeline)]
    for at, part in enumerate(parts):
        if part is module:
            short = nn.Sequential(*parts[:at], other).eval()
            with torch.no_grad():
                if short(x).shape == pipeline(x).shape:
                    return short
    return _swapped(pipeline, {id(module): other})


def _swapped(pipeline: nn.Module, others: Mapping[int, nn.Module]) -> nn.Module:
    """The pipeline with some of its modules replaced; all others are the same objects."""
    if not others:
        return pipeline
    if id(pipeline) in others:
        return others[id(pipeline)]
    changed = {
        name: _swapped(child, others)
        for name, child in pipeline.named_children()
        if any(id(module) in others for module in child.modules())
    }
    if not changed:
        return pipeline
    twin = copy.copy(pipeline)
    twin._modules = {**pipeline._modules, **changed}
    return twin


def _asked(draws: int) -> Estimator:
    return averaged(draws) if draws > 1 else exact
