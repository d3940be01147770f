"""What a classifier thinks of images: the outputs of some of its modules, and what its last linear layer is given."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from steelman.errors import InputError, unknown

CODE = "code"
"""The name of the input of the last linear layer, beside the names of modules."""


def layers_of(model: nn.Module) -> tuple[str, ...]:
    """Returns the layers that are looked at unless told: the stages of a network, and the code before its logits."""
    place, stage = "", model
    while len(learning := [(name, child) for name, child in stage.named_children() if list(child.parameters())]) == 1:
        place, stage = f"{place}{learning[0][0]}.", learning[0][1]
    last = _last_linear(model)
    names = [f"{place}{name}" for name, _ in learning]
    return (*(name for name in names if not f"{last}.".startswith(f"{name}.")), CODE)


def features(model: nn.Module, layers: Sequence[str], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Returns (logits, one (N, D) for each layer) by one forward pass, what has a place in the image averaged over it.

    layers: names of modules, as named_modules has them, or "code" for the input of the last linear layer.
    Raises InputError for a layer that there is not, or that the pass does not reach.
    """
    modules = dict(model.named_modules())
    caught: dict[str, Tensor] = {}

    def catch(name: str, value: object) -> None:
        if not isinstance(value, Tensor):
            raise InputError(f"expected a tensor out of {name}, got {type(value).__name__}: name another layer")
        caught[name] = value.flatten(2).mean(2) if value.dim() > 2 else value.flatten(1)

    hooks = []
    try:
        for name in layers:
            if name == CODE:
                linear = modules[_last_linear(model)]
                hooks.append(linear.register_forward_pre_hook(lambda _, given: catch(CODE, given[0])))
            elif name in modules and name:
                hooks.append(modules[name].register_forward_hook(lambda _, __, out, name=name: catch(name, out)))
            else:
                raise unknown("layer", name, [*filter(None, modules), CODE])
        logits: Tensor = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    missing = [name for name in layers if name not in caught]
    if missing:
        raise InputError(f"expected the classifier to run its layer {missing[0]}, but it does not: name another")
    return logits, [caught[name] for name in layers]


@torch.no_grad()
def gathered(model: nn.Module, layers: Sequence[str], x: Tensor, batch: int = 256) -> tuple[Tensor, list[Tensor]]:
    """Returns the same as `features`, `batch` images at a time and without a gradient."""
    parts = [features(model, layers, part) for part in x.split(batch)]
    return torch.cat([logits for logits, _ in parts]), [
        torch.cat(layer) for layer in zip(*(found for _, found in parts), strict=True)
    ]


def _last_linear(model: nn.Module) -> str:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise InputError("expected a classifier with a linear layer, got one without: name the layers to look at")
    return str(names[-1])
