"""What the layers of a network make of clean and of attacked images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steelman.data import Images
from steelman.errors import InputError, unknown
from steelman.evaluation import measure
from steelman.records import Features, Layer
from steelman.victim import Victim

_BATCH = 64
_SURE = 1.96
"""Standard errors to each side of a mean that make a 95 % interval."""


def answers(model: nn.Module, x: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
    """Returns what the named modules answer to images, (N, C, H, W) each, the model in evaluation mode.

    names: as in model.named_modules().
    Raises InputError for a name that is not there, a module that is not run, and one whose answer is no such tensor.
    """
    modules = dict(model.named_modules())
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in modules:
            raise unknown("layer", name, filter(None, modules))
    found: dict[str, Tensor] = {}

    def keep(name: str, out: object) -> None:
        if not isinstance(out, Tensor) or out.dim() != 4:
            came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise InputError(f"expected feature maps (N, C, H, W) of layer {name}, got {came}: name a layer before it")
        found[name] = out.detach().float().clone()  # a layer that works in place would write over it

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda module, given, out: keep(name, out)

    handles = [modules[name].register_forward_hook(hook(name)) for name in wanted]
    try:
        with Victim(model, device=x.device), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    for name in wanted:
        if name not in found:
            raise InputError(f"expected layer {name} to run, but the model does not call it: name another")
    return found


def relative_noise(model: nn.Module, x: Tensor, x_adv: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
    """Returns (N,) for each layer: |f(x_adv) - f(x)| / |f(x)|, Euclidean over all its features.

    x, x_adv: (N, C, H, W).  Not a number where a layer is silent on the clean image.
    Raises InputError as `answers` does.
    """
    names = list(names)
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for before, after in zip(x.split(_BATCH), x_adv.split(_BATCH), strict=True):
        clean, moved = answers(model, before, names), answers(model, after, names)
        for name in names:
            own = clean[name].flatten(1)
            parts[name].append((moved[name].flatten(1) - own).norm(dim=1) / own.norm(dim=1))
    return {name: torch.cat(values) for name, values in parts.items()}


def feature_maps(
    model: nn.Module,
    images: Images,
    x_adv: Tensor,
    groups: Sequence[Mapping[str, str]],
    *,
    pictured: int = 3,
    **named: Any,
) -> Features:
    """Returns the record of a network's layers: their noise over all images, and maps of the first `pictured`.

    x_adv: (N, C, H, W), what the attack made of the images.
    groups: names of modules to words for them. The layers of a group show one channel, on one scale: that which varies
    most over the clean image in the first of them.  named: the fields of the record that say whose they are.
    Raises InputError as `answers` does.
    """
    x, y = measure.on(model, images)
    words = {name: said for group in groups for name, said in group.items()}
    noise = relative_noise(model, x, x_adv, words)
    shown = slice(0, min(pictured, len(x)))
    clean, moved = answers(model, x[shown], words), answers(model, x_adv[shown], words)
    layers: list[Layer] = []
    for group in groups:
        channels = clean[next(iter(group))].var(dim=(2, 3), correction=0).argmax(1)
        own = {name: _of(channels, clean[name], moved[name]) for name in group}
        drawn = _scaled(list(own.values()))
        layers += [
            Layer(name=words[name], channels=tuple(channels.tolist()), maps=maps, **_summary(noise[name]))
            for name, maps in zip(group, drawn, strict=True)
        ]
    return Features(
        dataset=images.dataset,
        n=len(x),
        indices=tuple(images.indices[shown].tolist()),
        labels=tuple(images.classes[int(k)] for k in y[shown]),
        readings=_readings(model, images, x[shown], x_adv[shown], y[shown]),
        images=_pixels(torch.stack([x[shown], x_adv[shown]], 1)),
        layers=tuple(layers),
        **named,
    )


def _of(channels: Tensor, clean: Tensor, moved: Tensor) -> Tensor:
    """(K, 2, H, W): each image's channel, clean and attacked."""
    if int(channels.max()) >= clean.shape[1]:
        raise InputError(f"expected layers of one group to have as many channels, got {clean.shape[1]} in one")
    rows = torch.arange(len(channels), device=channels.device)
    return torch.stack([clean[rows, channels], moved[rows, channels]], 1)


def _scaled(maps: Sequence[Tensor]) -> list[NDArray[np.uint8]]:
    """All maps of one image between its lowest and its highest value, as bytes."""
    flat = torch.cat([part.flatten(1) for part in maps], 1)
    low, high = (value[:, None, None, None] for value in (flat.amin(1), flat.amax(1)))
    reach = (high - low).clamp_min(torch.finfo(flat.dtype).tiny)
    return [(255 * (part - low) / reach).round().to(torch.uint8).cpu().numpy() for part in maps]


def _summary(noise: Tensor) -> dict[str, float]:
    """Mean and 95 % interval over the images on which a layer is not silent; 0 where it is so on all."""
    known = noise[noise.isfinite()].double()
    mean = float(known.mean()) if len(known) else 0.0
    wide = _SURE * float(known.std()) / math.sqrt(len(known)) if len(known) > 1 else 0.0
    return {"noise": mean, "ci_low": max(0.0, mean - wide), "ci_high": mean + wide}


def _readings(
    model: nn.Module, images: Images, x: Tensor, x_adv: Tensor, y: Tensor
) -> tuple[tuple[tuple[str, float], tuple[str, float]], ...]:
    names = [*images.classes, "no answer"]
    sure = [measure.probabilities(model, part, y).max(1) for part in (x, x_adv)]
    said = [[(names[int(k)], round(float(p), 4)) for p, k in zip(*one, strict=True)] for one in sure]
    return tuple(zip(*said, strict=True))


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (x.clamp(0, 1) * 255).round().to(torch.uint8).movedim(2, -1).cpu().numpy()
    return pixels
