"""Fits the two classifiers whose weights stand in the zoo: `python -m tests.zoo.fit`, about a minute each on a core."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from steelman import weights
from steelman.data import load

from .classifiers import WEIGHTS, KWinnersNet, thermometer_net

IMAGES = 20_000
EPOCHS = 5
BATCH = 128
RATE = 4e-3


def fitted(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Returns a classifier fitted by cross-entropy on seeded training images of MNIST, in evaluation mode."""
    torch.manual_seed(seed)
    model, images = build(), load("mnist").train.sample(IMAGES, seed)
    steps = IMAGES // BATCH
    adam = torch.optim.Adam(model.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        for picked in torch.randperm(IMAGES)[: steps * BATCH].split(BATCH):
            x, y = images.batch(picked)
            adam.zero_grad()
            F.cross_entropy(model(x), y).backward()
            adam.step()
            rate.step()
    return model.eval()


def main() -> None:
    """Writes the weights that stand beside this file."""
    for name, build in (("k-winners", KWinnersNet), ("thermometer", thermometer_net)):
        made = {"images": IMAGES, "epochs": EPOCHS, "batch": BATCH, "rate": RATE, "seed": 0, "torch": torch.__version__}
        weights.write(fitted(build), WEIGHTS / f"{name}.safetensors", made)


if __name__ == "__main__":
    main()
