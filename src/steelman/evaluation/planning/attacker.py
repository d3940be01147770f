"""The attacker who knows the whole pipeline: what each stage does to a gradient, and which paths lead through."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from steelman.attacks import AnyAttack, Attack, Cascade, apgd, averaged, borrowed, catalogue, square
from steelman.attacks.engine.estimators import Estimator, exact
from steelman.attacks.engine.goals import Worst
from steelman.attacks.engine.loop import Search
from steelman.defences import StraightThrough
from steelman.pipeline import Pipeline
from steelman.records import GradientKind, Stage
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

    def prepared(self, attack: AnyAttack) -> Iterator[tuple[str, nn.Module, AnyAttack]]:
        """Yields (way, model, attack): an attack as it is made on this pipeline, once for each way through.

        A cascade through a random pipeline is cut to its first parts, which are made on every image, and ends with
        steps that are all taken: there an image that once seemed broken may hold on fresh draws.
        """
        if not needs_gradients(attack):
            yield WHOLE, self.pipeline, _through(attack, self.look)
            return
        for way in self.paths:
            for one in _for_random(attack) if self.random else [attack]:
                yield way.title, way.model, _through(one, way.gradient)
        if not self.paths and isinstance(attack, Cascade):
            for part in attack.attacks:
                if not needs_gradients(part):
                    yield WHOLE, self.pipeline, _through(part, self.look)

    def fallbacks(self, attack: AnyAttack) -> Iterator[tuple[str, nn.Module, AnyAttack]]:
        """Yields what a full attack inside the same threat takes besides: without gradients where they are no guide."""
        named = attack.threat.ball.name in catalogue["square"].norms
        without = [attack] if isinstance(attack, Attack) else attack.attacks if isinstance(attack, Cascade) else []
        if self.gradient_masked and named and not any(part.name == "square" for part in without):
            yield WHOLE, self.pipeline, _through(square(attack.threat), self.look)


def needs_gradients(attack: AnyAttack) -> bool:
    """Returns whether an attack, or some part of it, asks the model for gradients."""
    if isinstance(attack, Cascade):
        return any(needs_gradients(part) for part in attack.attacks)
    name = attack.name.split("-")[0] if attack.name.startswith("transfer-") else attack.name
    if name in catalogue:
        return catalogue[name].knows == "gradients"
    return not isinstance(attack, Attack) or isinstance(attack.rule, Search) or attack.rule.asks != "scores"


def probe_pipeline(pipeline: nn.Module, x: Tensor, y: Tensor, *, seed: int = 0, draws: int = DRAWS) -> Attacker:
    """Returns the attacker who knows a pipeline, having tried every stage on some images.

    A stage whose gradient is none, zero or NaN on most images is replaced, backwards, by the identity where its shapes
    allow (BPDA), whatever stands in it; one that offers stand-ins of its own is attacked through each of these too.
    x: (N, *S), y: (N,), of which the first few are looked at.  draws: answers to average where it is random, >= 2.
    Source: BPDA and EOT of Athalye et al. 2018 (Obfuscated gradients), section 4.
    """
    x, y = x[:_LOOKS], y[:_LOOKS]
    with Victim(pipeline, seed=seed, device=x.device):
        draws = draws if _differs(pipeline, x) else 1
        looks = list(_stages(pipeline, x))
        beside = pipeline.detector if isinstance(pipeline, Pipeline) else None
        found = [look.stage for look in looks]
        found += [_look("detector", beside, x, *_gradient(beside, x)).stage] if beside is not None else []
    dead = [look for look in looks if not look.stage.gradient.usable]
    same = [look for look in dead if look.keeps_shape]
    paths: list[GradientPath] = []
    if len(same) == len(dead):
        swapped = _swapped(pipeline, {id(look.module): StraightThrough(look.module) for look in same})
        titles = [look.stage.name for look in same]
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
                if _gradient(model, x)[0].usable:
                    paths.append(GradientPath(called, pipeline, borrowed(model, called, draws)))
    return paths


def _stood_in(pipeline: nn.Module, module: object, other: nn.Module, x: Tensor) -> nn.Module:
    """The pipeline with another module in the place of one, and of all that follows if it gives logits itself."""
    parts = [part for _, part in _chain(pipeline)]
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


class _Look(NamedTuple):
    """What was seen of one stage.  keeps_shape: whether the identity can stand in its place."""

    stage: Stage
    module: nn.Module
    keeps_shape: bool


def _stages(pipeline: nn.Module, x: Tensor) -> Iterator[_Look]:
    """Each stage with its record: the parts of a chain, and where one has no gradient what in it takes it away."""
    for name, module in _chain(pipeline) or [("", pipeline)]:
        gradient, share = _gradient(module, x)
        with torch.no_grad():
            out = module(x.clone())
        if not gradient.usable:
            culprits = list(_culprits(module, x, name)) or [(name, module, x, gradient, share)]
            for path, culprit, given, kind, usable in culprits:
                yield _look(path, culprit, given, kind, usable)
        else:
            yield _look(name, module, x, gradient, share)
        x = out


def _chain(pipeline: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of a pipeline of which each takes what the one before gave; none where it is no pipeline."""
    if isinstance(pipeline, Pipeline):
        parts = [(name, part) for name, part in pipeline.stages() if part is not pipeline.detector]
        return parts if len(parts) > 1 else _chain(parts[0][1]) or parts
    return list(pipeline.named_children()) if isinstance(pipeline, nn.Sequential) else []


def _look(name: str, module: nn.Module, x: Tensor, gradient: GradientKind, share: float) -> _Look:
    with torch.no_grad():
        out = module(x.clone())
    random = _differs(module, x)
    if gradient is GradientKind.BPDA:
        path = "through the stand-in that it declares (BPDA)"
    elif gradient is GradientKind.EXACT:
        path = "exact gradient"
    elif out.shape == x.shape:
        path = "BPDA with the identity, and without gradients"
    else:
        path = "without gradients: its shape leaves no identity to put in its place"
    if random:
        path += ", averaged over draws (EOT)"
    title = f"{name} ({type(module).__name__})" if name else type(module).__name__
    stage = Stage(name=title, gradient=gradient, share=share, random=random, gradient_path=path)
    return _Look(stage, module, out.shape == x.shape)


def _gradient(module: nn.Module, x: Tensor) -> tuple[GradientKind, float]:
    """What kind of gradient a module has on most images, and on how many it has a usable one.

    It is asked with a random direction, so that no cancellation and no saturated loss looks like its own defect.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        given = x.detach().clone().requires_grad_()
        out: object = module(given.clone())
        if not isinstance(out, Tensor) or not out.requires_grad:
            return GradientKind.NONE, 0.0
        push = torch.randn(out.shape, generator=generator).to(out)
        grad: Tensor | None = torch.autograd.grad((out * push).sum(), given, allow_unused=True)[0]
    if grad is None:
        return GradientKind.NONE, 0.0
    flat = grad.flatten(1)
    nan, zero = flat.isnan().any(1), (flat == 0).all(1)
    share = float((~(nan | zero)).double().mean())
    if float(nan.double().mean()) > 0.5:
        return GradientKind.NAN, share
    if share <= 0.5:
        return GradientKind.ZERO if bool(zero.any()) else GradientKind.NAN, share
    declared = any(getattr(part, "stands_in", False) is True for part in module.modules())
    return GradientKind.BPDA if declared else GradientKind.EXACT, share


def _culprits(module: nn.Module, x: Tensor, name: str) -> Iterator[tuple[str, nn.Module, Tensor, GradientKind, float]]:
    """The innermost modules that take a gradient away, with what each was given."""
    calls: list[tuple[str, nn.Module, Tensor]] = []
    names = {id(part): f"{name}.{path}".strip(".") for path, part in module.named_modules() if part is not module}

    def note(part: nn.Module, given: tuple[object, ...]) -> None:
        if given and isinstance(given[0], Tensor) and given[0].is_floating_point():
            calls.append((names[id(part)], part, given[0].detach().clone()))

    hooks = [part.register_forward_pre_hook(note) for part in module.modules() if part is not module]
    try:
        with torch.no_grad():
            module(x)
    finally:
        for hook in hooks:
            hook.remove()
    bad = [(path, part, given, *_gradient(part, given)) for path, part, given in calls]
    bad = [one for one in bad if not one[3].usable]
    for one in bad:
        if not any(other is not one and other[0].startswith(f"{one[0]}.") for other in bad):
            yield one


def _differs(module: nn.Module, x: Tensor) -> bool:
    with torch.no_grad():
        return not torch.equal(module(x.clone()), module(x.clone()))


def _asked(draws: int) -> Estimator:
    return averaged(draws) if draws > 1 else exact


def _through(attack: AnyAttack, estimator: Estimator) -> AnyAttack:
    """The attack looking through an estimator; one that has its own, as NES has, keeps it."""
    if estimator == exact or not isinstance(attack, Attack | Cascade):
        return attack if estimator == exact else attack.through(estimator)
    if isinstance(attack, Cascade):
        return replace(attack, attacks=tuple(_seen(part, estimator) for part in attack.attacks))
    return _seen(attack, estimator)


def _seen(attack: Attack, estimator: Estimator) -> Attack:
    return attack.through(estimator) if attack.gradient == exact else attack


def _for_random(attack: AnyAttack) -> list[AnyAttack]:
    if not isinstance(attack, Cascade):
        return [attack]
    shares = attack.near or (1.0,) * len(attack.attacks)
    first = tuple(part for part, share in zip(attack.attacks, shares, strict=True) if share >= 1)
    core = replace(attack, attacks=first or attack.attacks[:1], near=())
    return [core, apgd(attack.threat).with_goal(Worst())]
