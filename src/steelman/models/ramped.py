"""Small classifiers that begin with a ramp: one to be attacked while it learns, one to be bounded."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POOLED = 7


class Ramp(nn.Module):
    """clamp((x - low) / (high - low), 0, 1) of every pixel, with learned ends: no change beyond them is seen.

    On images that are nearly black and white it undoes what a small change did; ends of 0 and 1 leave an image as it
    is, and are where it may go where that helps more.

    The slope that a gradient finds is that of the ramp without its clamp, so that it leads through everywhere (BPDA,
    Athalye et al. 2018); behind the exact one, an attack of gradients finds a small part of what there is. Its own ends
    learn by the exact slope.
    """

    stands_in = True
    """The gradient is a stand-in's, and says so to an attacker who asks."""

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.low = nn.Parameter(torch.tensor(low))
        self.high = nn.Parameter(torch.tensor(high))

    def forward(self, x: Tensor) -> Tensor:
        ramped: Tensor = _Ramped.apply(x, self.low, self.high)  # type: ignore[no-untyped-call]
        return ramped


class _Ramped(torch.autograd.Function):
    """The ramp with the slope of its middle everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        risen = (x - low) / (high - low)
        ctx.save_for_backward(risen, high - low)
        return risen.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        risen, width = ctx.saved_tensors
        slope = grad / width
        inside = torch.where((risen > 0) & (risen < 1), slope, 0.0)
        return slope, (inside * (risen - 1)).sum(), -(inside * risen).sum()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.unit = _unit(width, width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.unit(x)
        return out


class RampResNet(nn.Module):
    """A ramp and a small residual network: (N, channels, side, side) in [0, 1] to logits (N, classes).

    Made to be trained under attack. About 3.2 million multiply-adds and 0.2 million parameters at 28×28. Images of
    another size are pooled to the 7×7 that 28×28 leave.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 24, hidden: int = 64) -> None:
        super().__init__()
        self.settings = {"channels": channels, "classes": classes, "width": width, "hidden": hidden}
        self.ramp = Ramp()
        self.look = nn.Sequential(
            _unit(channels, width, 5, 2),
            _Residual(width),
            _unit(width, 2 * width, 3, 2),
            _Residual(2 * width),
            _Residual(2 * width),
        )
        self.think = nn.Sequential(nn.Flatten(), nn.Linear(2 * width * POOLED**2, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)

    def seen(self, x: Tensor) -> Tensor:
        """Returns what the convolutions see in images, (N, 2 width, 7, 7)."""
        return _pooled(self.look(self.ramp(x).contiguous(memory_format=torch.channels_last)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.think(self.seen(x)))
        return logits


class RampCNN(nn.Module):
    """A ramp, two convolutions and two linear layers: (N, channels, side, side) in [0, 1] to logits (N, classes).

    Made to be bounded: few layers, ReLU, nothing else, and weights that begin so small that interval bounds do not
    grow from layer to layer. About 0.6 million multiply-adds and 0.17 million parameters at 28×28. Images of another
    size are pooled to the 7×7 that 28×28 leave.
    depth: further convolutions of 3×3.
    Source: the small network of Gowal et al. 2018 (On the effectiveness of interval bound propagation), table 1, with
    strides of 2 twice; its beginning: Shi et al. 2021 (Fast certified robust training with short warmup), section 3.1.
    The ramp is ours.
    """

    def __init__(
        self, channels: int = 1, classes: int = 10, width: int = 16, hidden: int = 100, depth: int = 0
    ) -> None:
        super().__init__()
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.ramp = Ramp()
        more = [nn.Conv2d(2 * width, 2 * width, 3, padding=1) for _ in range(depth)]
        self.look = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(),
            *(part for layer in more for part in (layer, nn.ReLU())),
        )
        self.think = nn.Sequential(nn.Flatten(), nn.Linear(2 * width * POOLED**2, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.normal_(layer.weight, std=math.sqrt(2 * math.pi) / layer.weight[0].numel())
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def seen(self, x: Tensor) -> Tensor:
        """Returns what the convolutions see in images, (N, 2 width, 7, 7)."""
        return _pooled(self.look(self.ramp(x)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.think(self.seen(x)))
        return logits


def _unit(inside: int, outside: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


def _pooled(seen: Tensor) -> Tensor:
    return seen if seen.shape[-2:] == (POOLED, POOLED) else F.adaptive_avg_pool2d(seen, POOLED)
