"""A network with another readout for each image: is this the image, or the point that was put on the sphere?"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.norms import column
from steelman.streams import Streams
from steelman.threat import Threat

_GAP = 0.95
"""Of eps: how far from the image the inner points go."""

_RIDGE = 1e-3
"""Of the mean variance of a feature: what is added to each, so that features that never change divide nothing by 0."""


class PenultimateFeatures(nn.Module):
    """What a network's last linear layer is given, (N, d); its logits where it has no such layer.

    model: any, left as it is.  layer: the linear layer, a part of it, or None.
    Raises InputError when it is called, if that layer is not given one row for each image.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], layer: nn.Module | None) -> None:
        super().__init__()
        self.model, self._layer = model, (layer,)

    def forward(self, x: Tensor) -> Tensor:
        (layer,) = self._layer
        if layer is None:
            return self.model(x).flatten(1)
        given: list[Tensor] = []

        def note(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            given.append(inputs[0])

        hook = layer.register_forward_pre_hook(note)
        try:
            self.model(x)
        finally:
            hook.remove()
        if not given or len(given[-1]) != len(x):
            came = len(given[-1]) if given else 0
            raise InputError(f"expected a row of features for each of {len(x)} images, got {came}")
        return given[-1].flatten(1)


class Readouts(nn.Module):
    """A network with two classes, 0 for the image and all that is near, 1 for the point put on its sphere.

    Row i of a batch is read by the i-th readout, so that an attack must keep every image in its row; rows beyond the
    last readout are read by the first.
    weight: (R, d), bias: (R,), of the second logit; the first is its negative.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, features: PenultimateFeatures, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        row = torch.arange(len(x), device=x.device)
        row = torch.where(row < len(self.weight), row, 0)
        score = (found.to(self.weight) * self.weight[row]).sum(1) + self.bias[row]
        return torch.stack([-score, score], 1).to(x.dtype)


class Fitted(NamedTuple):
    """A readout for one image.  weight: (d,).  bias: ().  parts: whether it tells all points apart."""

    weight: Tensor
    bias: Tensor
    parts: bool


def last_linear(model: nn.Module, x: Tensor, classes: int) -> nn.Module | None:
    """Returns the linear layer that runs last and has an output for each class, None where there is none.

    x: (N, *S), some images.
    """
    ran: list[nn.Module] = []

    def note(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        ran.append(part)

    hooks = [part.register_forward_pre_hook(note) for part in model.modules() if isinstance(part, nn.Linear)]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    fits = bool(ran) and getattr(ran[-1], "out_features", 0) == classes
    return ran[-1] if fits else None


def inner(threat: Threat, x: Tensor, streams: Streams) -> Tensor:
    """Returns (N, *S): a random image for each that is nearer than .95 eps."""
    return threat.at(_GAP * threat.eps).sample(streams.derive("inner"), around=x)


def on_sphere(threat: Threat, x: Tensor, streams: Streams) -> Tensor:
    """Returns (N, *S): a random image for each that is as far as eps, where the box lets it."""
    drawn = threat.sample(streams.derive("sphere"), around=x) - x
    for _ in range(4):  # what the box cuts off is made up for where there is room
        size = threat.ball.size(drawn).clamp_min(torch.finfo(x.dtype).tiny)
        drawn = (x + drawn * column(threat.eps / size, x)).clamp(threat.low, threat.high) - x
    return threat.project(x + drawn, around=x)


def fit(near: Tensor, far: Tensor, spread: float) -> Fitted:
    """Returns the linear readout that has the far points on the other side of the near ones, half-way between.

    near: (N, d) and far: (M, d), features.  spread: how far apart its two logits come, as the network's own do.
    It is Fisher's discriminant in closed form. The paper fits a logistic regression, which has no minimum on points
    that can be told apart, so that where it ends depends on its solver.
    """
    near, far = near.double(), far.double()
    centre = near.mean(0)
    about = near - centre
    scatter = about.mT @ about / len(near)
    ridge = _RIDGE * scatter.diagonal().mean() + torch.finfo(near.dtype).tiny
    scatter += ridge * torch.eye(near.shape[1], dtype=near.dtype, device=near.device)
    weight = torch.linalg.solve(scatter, far.mean(0) - centre)
    most, least = (near @ weight).max(), (far @ weight).min()
    parts = bool(least > most)
    bias = -(most + least) / 2
    scores = torch.cat([near, far]) @ weight + bias
    scale = spread / (2 * scores.abs().max().clamp_min(torch.finfo(near.dtype).tiny))
    return Fitted(weight * scale, bias * scale, parts)
