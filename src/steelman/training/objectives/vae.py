"""A variational auto-encoder that is told the class: what a PuVAE is trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences.puvae import Drawn, PuVAE
from steelman.errors import InputError
from steelman.training.checkpoint import Examples
from steelman.training.objectives.purify import Purify


@dataclass(frozen=True, kw_only=True)
class Variational:
    """Give an image back from a code drawn near a standard normal one, so that a frozen classifier reads its label.

    Examples are (image, label). The loss of an image x with label y, whose reconstruction x' the networks are told y
    for, is the weighted sum of the binary cross-entropy of x' to x over all pixels, the divergence of its code from a
    standard normal one, and the cross-entropy of the classifier's reading of x'. Judged by `purify`'s figures.

    purify: the classifier, and the attacks that judge. Its attacks that train, ours, are what the encoder is shown in
    place of the image that is to be given back; the paper has none, so that it sees clean images alone.
    reconstruction, divergence, reading: the three weights.
    choosing: ours, 0 in the paper: weight of the cross-entropy of softmax(-error / temperature) over all classes, so
    that reconstructions as another class stay farther from what was shown.
    Raises InputError for a weight below 0.
    Source: Hwang et al. 2019 (PuVAE), its training loss, with its weights of .01, .1 and 10.
    """

    purify: Purify
    reconstruction: float = 0.01
    divergence: float = 0.1
    reading: float = 10.0
    choosing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("reconstruction", "divergence", "reading", "choosing"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"expected {name} of Variational as a weight from 0, got {value!r}")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y)."""
        vae, (x, y) = cast(PuVAE, model), batch
        shown, chosen = self.purify.attacked(x, y), x.new_zeros(())
        if self.choosing:
            every = vae.codes(shown)
            logits = vae.logits(every.sample())
            error = vae.errors(torch.sigmoid(logits.to(x.dtype)), shown)
            chosen = F.cross_entropy(-error / vae.temperature, y)
            own = torch.arange(len(y), device=y.device), y
            codes, logits = Drawn(every.mean[own], every.log_deviation[own]), logits[own]
        else:
            codes = vae.codes(shown, y)
            logits = vae.logits(codes.sample(), y)
        logits = logits.to(x.dtype)
        lost = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1).mean()
        read = F.cross_entropy(self.purify.classifier(torch.sigmoid(logits)).float(), y)
        return (
            self.reconstruction * lost
            + self.divergence * divergence(codes).mean()
            + self.reading * read
            + self.choosing * chosen
        )

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy of the classifier behind the model: the mean, on clean images, under each attack."""
        return self.purify.validate(model, validation)


def divergence(codes: Drawn) -> Tensor:
    """Returns the Kullback-Leibler divergence of codes, (…, latent), from standard normal ones, (…), in nats."""
    mean, log_deviation = codes
    return (0.5 * (mean.square() + (2 * log_deviation).exp() - 1) - log_deviation).sum(-1)
