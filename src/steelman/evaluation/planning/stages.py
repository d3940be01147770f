"""What each stage of a pipeline does to a gradient, found out by trying it on some images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from steelman.pipeline import Pipeline
from steelman.records import GradientKind, Stage


class Look(NamedTuple):
    """What was seen of one stage.  keeps_shape: whether the identity can stand in its place."""

    stage: Stage
    module: nn.Module
    keeps_shape: bool


def stages(pipeline: nn.Module, x: Tensor) -> Iterator[Look]:
    """Yields what is seen of each stage of a pipeline, tried on images x, (N, *S).

    The stages are the parts of a chain, and where one has no gradient what in it takes the gradient away.
    """
    for name, module in chain(pipeline) or [("", pipeline)]:
        kind, share = gradient(module, x)
        with torch.no_grad():
            out = module(x.clone())
        culprits = [] if kind.usable else list(_culprits(module, x, name))
        for path, culprit, given, its, usable in culprits or [(name, module, x, kind, share)]:
            yield _look(path, culprit, given, its, usable)
        x = out


def look(name: str, module: nn.Module, x: Tensor) -> Look:
    """Returns what is seen of one module, called so, tried on images x, (N, *S)."""
    return _look(name, module, x, *gradient(module, x))


def chain(pipeline: nn.Module) -> list[tuple[str, nn.Module]]:
    """Returns the parts of a pipeline, each taking what the one before gave, by name; none where it is no pipeline."""
    if isinstance(pipeline, Pipeline):
        parts = [(name, part) for name, part in pipeline.stages() if part is not pipeline.detector]
        return parts if len(parts) > 1 else chain(parts[0][1]) or parts
    return list(pipeline.named_children()) if isinstance(pipeline, nn.Sequential) else []


def _look(name: str, module: nn.Module, x: Tensor, kind: GradientKind, share: float) -> Look:
    with torch.no_grad():
        out = module(x.clone())
    random = differs(module, x)
    if kind is GradientKind.BPDA:
        path = "through the stand-in that it declares (BPDA)"
    elif kind is GradientKind.EXACT:
        path = "exact gradient"
    elif out.shape == x.shape:
        path = "BPDA with the identity, and without gradients"
    else:
        path = "without gradients: its shape leaves no identity to put in its place"
    if random:
        path += ", averaged over draws (EOT)"
    title = f"{name} ({type(module).__name__})" if name else type(module).__name__
    stage = Stage(name=title, gradient=kind, share=share, random=random, gradient_path=path)
    return Look(stage, module, out.shape == x.shape)


def gradient(module: nn.Module, x: Tensor) -> tuple[GradientKind, float]:
    """Returns what kind of gradient a module has on most images x, (N, *S), and on what share of them a usable one.

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
    bad = [(path, part, given, *gradient(part, given)) for path, part, given in calls]
    bad = [one for one in bad if not one[3].usable]
    for one in bad:
        if not any(other is not one and other[0].startswith(f"{one[0]}.") for other in bad):
            yield one


def differs(module: nn.Module, x: Tensor) -> bool:
    """Returns whether a module answers images x, (N, *S), differently when it is asked twice."""
    with torch.no_grad():
        return not torch.equal(module(x.clone()), module(x.clone()))
