"""The network that adversarial training on MNIST is measured with, made small."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_POOLED = 7


class LeNet(nn.Module):
    """Two 5×5 convolutions and two linear layers: (N, channels, H, W) in [0, 1] to logits (N, classes).

    About 3 million multiply-adds and 0.22 million parameters at 28×28. Images of another size, from 4×4 up, are
    pooled to the 7×7 that 28×28 leave. Nothing in it is random, or other in training.
    Source: code of Madry et al. 2018 (MNIST), there with widths 32, 64 and 1024; here with half, and 128.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 16, hidden: int = 128) -> None:
        super().__init__()
        self.settings = {"channels": channels, "classes": classes, "width": width, "hidden": hidden}
        self.first = nn.Conv2d(channels, width, 5, padding=2)
        self.second = nn.Conv2d(width, 2 * width, 5, padding=2)
        self.linear = nn.Linear(2 * width * _POOLED**2, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        # channels last makes it up to twice as fast on a CPU; the largest is the same before ReLU and after it, where
        # pooling has left a quarter as much to do
        x = self.first(x).contiguous(memory_format=torch.channels_last)
        x = F.relu(F.max_pool2d(x, 2))
        x = F.relu(F.max_pool2d(self.second(x), 2))
        if x.shape[-2:] != (_POOLED, _POOLED):
            x = F.adaptive_avg_pool2d(x, _POOLED)
        logits: Tensor = self.head(F.relu(self.linear(x.flatten(1))))
        return logits
