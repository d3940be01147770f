"""ResNet-18, with or without denoising of its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steelman.errors import InputError, unknown
from steelman.models.denoising import OPERATIONS, DenoisingBlock

STEMS = ("small", "half", "large")
"""What stands before the first stage, by the size of the images that it is for."""

STAGES = (1, 2, 3, 4)


class ResNet18(nn.Module):
    """Four stages of two residual blocks: (N, channels, H, W) in [0, 1] to logits (N, classes).

    width: channels of the first stage; each further one has twice as many, at half the resolution.
    denoise: "none", or an operation of `DenoisingBlock`, one of which then follows each stage.
    stem: "small", a 3×3 convolution that keeps the resolution, for images up to about 64×64; "half", the same at stride
    2, for a quarter of the work; "large", the paper's 7×7 of stride 2 with a pooling of stride 2, for 224×224.
    11.2 million parameters at width 64, 0.7 million at 16.
    Raises InputError for another operation, stem or width.
    Source: He et al. 2016 (Deep Residual Learning for Image Recognition), table 1, with projections where the shape
    changes; the small stem is of its section 4.2, the half one ours. Denoising: Xie et al. 2019, section 6.
    """

    def __init__(
        self, channels: int = 1, classes: int = 10, width: int = 64, denoise: str = "none", stem: str = "small"
    ) -> None:
        super().__init__()
        if denoise not in ("none", *OPERATIONS):
            raise unknown("denoising operation", denoise, ("none", *OPERATIONS))
        if stem not in STEMS:
            raise unknown("stem", stem, STEMS)
        if not isinstance(width, int) or width < 1:
            raise InputError(f"expected width as a number of channels from 1, got {width!r}: say width=64")
        self.settings = {"channels": channels, "classes": classes, "width": width, "denoise": denoise, "stem": stem}
        self.stem = _stem(channels, width, stem)
        inside = width
        for stage in STAGES:
            outside = width * 2 ** (stage - 1)
            self.add_module(f"stage{stage}", _stage(inside, outside, 1 if stage == 1 else 2))
            if denoise != "none":
                self.add_module(f"denoise{stage}", DenoisingBlock(outside, denoise))
            inside = outside
        self.head = nn.Linear(inside, classes)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d) and not name.startswith("denoise"):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        # up to twice as fast on a CPU; with fewer channels, torch 2.13 overruns its memory on the way back
        if x.shape[1] % 16 == 0:
            x = x.contiguous(memory_format=torch.channels_last)
        for name, layer in self.named_children():
            if name not in ("stem", "head"):
                x = layer(x)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and a way around them.

    Source: He et al. 2016, figure 2 and option B of section 4.1.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_normed(inside, outside, 3, stride), nn.ReLU(inplace=True), *_normed(outside, outside, 3, 1)
        )
        same = inside == outside and stride == 1
        self.around = nn.Identity() if same else nn.Sequential(*_normed(inside, outside, 1, stride))
        self.last = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.body(x) + self.around(x))
        return out


def _stem(channels: int, width: int, stem: str) -> nn.Sequential:
    if stem != "large":
        return nn.Sequential(*_normed(channels, width, 3, 1 if stem == "small" else 2), nn.ReLU(inplace=True))
    return nn.Sequential(*_normed(channels, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1))


def _stage(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(inside, outside, stride), ResidualBlock(outside, outside, 1))


def _normed(inside: int, outside: int, side: int, stride: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return (
        nn.Conv2d(inside, outside, side, stride=stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(outside),
    )
