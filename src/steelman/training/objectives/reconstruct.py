"""What an auto-encoder that knows no attack is trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.errors import InputError
from steelman.training.checkpoint import Examples


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Give the clean image back from the image with noise, by mean squared error.

    Examples are (image, …). Judged on clean images, by 1 / (1 + mean squared error).
    noise: standard deviation of Gaussian noise, drawn anew at every step; the noisy image is clipped to [0, 1].
    Raises InputError for a noise below 0.
    Source: Meng & Chen 2017 (MagNet), with the noise of .1 of the authors' code for MNIST. That code draws the noise of
    an image once, and adds the squares of what every layer gives at 1e-9, too little to tell; neither is here.
    """

    noise: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise InputError(f"expected noise of Reconstruct as a standard deviation from 0, got {self.noise!r}")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean squared error on x."""
        x = batch[0]
        return F.mse_loss(model((x + self.noise * torch.randn_like(x)).clamp(0, 1)).float(), x.float())

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the score, from 0 to 1 for no error, and the mean squared error."""
        device = next(model.parameters()).device
        total = 0.0
        with torch.no_grad():
            for places in torch.arange(len(validation)).split(500):
                x = validation.batch(places)[0].to(device)
                total += float(F.mse_loss(model(x).float(), x.float())) * len(places)
        error = total / len(validation)
        return {"score": 1 / (1 + error), "mean squared error": error}
