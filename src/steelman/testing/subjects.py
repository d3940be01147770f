"""What is tried on: a small classifier that counts its passes, and images for it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from steelman.defences import UNetPurifier
from steelman.models import CNN


class Network(nn.Module):
    """A small smooth classifier of anything; it counts the samples that go forwards and those that come back.

    (N, *shape) to (N, classes), in [0, 1].  scale: of its logits.
    """

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 4, 3),
        classes: int = 4,
        dtype: torch.dtype = torch.float64,
        scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        features = int(torch.tensor(shape).prod())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            first, last = nn.Linear(features, 16), nn.Linear(16, classes)
        last.weight.data *= 4
        self.layers = nn.Sequential(nn.Flatten(), first, nn.Softplus(), last, nn.Dropout(0.5))
        self.to(dtype)
        self.scale = scale
        self.forwards = self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        if x.requires_grad:
            x = x * 1
            x.register_hook(self._back)
        out: Tensor = self.scale * self.layers(x - 0.5)
        return out

    def _back(self, grad: Tensor) -> None:
        self.backwards += len(grad)


def drawn(
    model: nn.Module,
    n: int = 8,
    shape: tuple[int, ...] = (1, 4, 3),
    dtype: torch.dtype = torch.float64,
    *,
    targeted: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (x, y, natural): images of which the first and the fourth are broken as they stand, and no other is.

    x: (n, *shape).  y: (n,), labels, or the classes to reach if targeted.  natural: (n,) bool.
    """
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, *shape, generator=generator, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        ranked = model.eval()(x).argsort(1, descending=True)
    y, other = ranked[:, 0], ranked[:, 1]
    if targeted:
        y, other = other, y
    natural = torch.arange(n) % 3 == 0
    natural[6:] = False
    return x, torch.where(natural, other, y), natural


class Scene(NamedTuple):
    """What detectors are tried on: x (60, 1, 12, 12) of two classes y, dark and light, and noisy attacked images."""

    classifier: nn.Module
    purifier: nn.Module
    x: Tensor
    y: Tensor
    attacked: Tensor


def scene() -> Scene:
    """Returns small untrained networks, and images for them; the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = CNN(1, 2, width=4).eval()
        purifier = UNetPurifier(1, width=4, code=8, depth=1).eval()
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(60) % 2
    x = (0.3 * torch.rand(60, 1, 12, 12, generator=generator) + 0.6 * y[:, None, None, None]).clamp(0, 1)
    noise = torch.rand(40, 1, 12, 12, generator=generator)
    return Scene(classifier, purifier, x, y, torch.where(noise < 0.4, 1 - x[:40], x[:40]))


def holds(true: object, what: str, sentence: str) -> None:
    """Raises AssertionError with a sentence about something, unless it is true."""
    if not bool(true):
        raise AssertionError(f"{what}: {sentence}")
