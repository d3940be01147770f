"""Classifiers that are the defence themselves, (N, 1, 28, 28) in [0, 1] to (N, 10)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from steelman.models import LeNet

from .stages import Thermometer

SIDE = 28

WEIGHTS = Path(__file__).parent / "weights"


class Scaled(nn.Module):
    """Logits times a factor: the same answers, from a softmax that rounds to 0 and 1."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        return self.factor * logits


class LeftInTraining(nn.Module):
    """A classifier whose dropout and batch statistics stay on whatever `eval` says: an answer depends on the batch.

    model: with batch norm and a linear `head`, in front of which dropout is put.  share: that it drops.
    """

    def __init__(self, model: nn.Module, share: float) -> None:
        super().__init__()
        model.head = nn.Sequential(nn.Dropout(share), model.head)
        self.model = model
        self.train()

    def train(self, mode: bool = True) -> LeftInTraining:
        """Returns itself, in training mode in any case."""
        super().train(True)
        return self

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits


class NoisyFeatures(nn.Module):
    """A layer whose answer is multiplied by 1 + N(0, sigma²), number by number, anew with every question."""

    def __init__(self, layer: nn.Module, sigma: float) -> None:
        super().__init__()
        self.layer, self.sigma = layer, sigma

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layer(x)
        return features * (1 + self.sigma * torch.randn_like(features))


def thermometer_net(levels: int = 16) -> nn.Sequential:
    """Returns the classifier that reads a thermometer code, with the code in front."""
    return nn.Sequential(Thermometer(levels), LeNet(channels=levels, width=8, hidden=32))


class KWinners(nn.Module):
    """k-winners-take-all: of each image's activations a share stays, the largest, and all others become zero.

    The function jumps wherever the winners change, and its gradient says nothing of that.
    Source: Xiao et al. 2020 (Enhancing adversarial defense by k-winners-take-all), eq. 1 and 2.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        k = max(1, round(self.share * flat.shape[1]))
        least = flat.kthvalue(flat.shape[1] - k + 1, dim=1, keepdim=True).values
        return (flat * (flat >= least)).view_as(x)


class KWinnersNet(nn.Module):
    """Two convolutions of stride 2 and two linear layers, each but the last behind k-winners-take-all."""

    def __init__(self, share: float = 0.1, width: int = 16, hidden: int = 32) -> None:
        super().__init__()
        self.settings = {"share": share, "width": width, "hidden": hidden}
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=2, padding=2),
            KWinners(share),
            nn.Conv2d(width, 2 * width, 5, stride=2, padding=2),
            KWinners(share),
            nn.Flatten(),
            nn.Linear(2 * width * (SIDE // 4) ** 2, hidden),
            KWinners(share),
            nn.Linear(hidden, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits
