"""The paper's auto-encoder, trained as its code trains it: on images that one attack made before training began.

Source: code of arXiv 2312.03520.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman import weights
from steelman.attacks import Attack
from steelman.data import Images
from steelman.defences import ConvAutoencoder
from steelman.models import resize
from steelman.progress import OnProgress
from steelman.training.checkpoint import Examples
from steelman.training.fit import fit
from steelman.training.recipe import Recipe
from steelman.training.seeding import seeded
from steelman.training.trained import Trained, record
from steelman.victim import Mode

MODE: Mode = "train"
SLOTS = 64
"""How the classifier is attacked: with batch statistics and dropout, on batches of so many."""


@dataclass(frozen=True)
class Pairs:
    """Attacked images beside the clean ones: all (N, C, H, W)."""

    x_adv: Tensor
    clean: Tensor

    def __len__(self) -> int:
        return len(self.x_adv)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (attacked, clean) of these indices."""
        return self.x_adv[indices], self.clean[indices]

    def split(self, val: int) -> tuple[Pairs, Pairs]:
        """Returns all but the last `val` pairs, and those."""
        return Pairs(self.x_adv[:-val], self.clean[:-val]), Pairs(self.x_adv[-val:], self.clean[-val:])


@dataclass(frozen=True)
class Reconstruct:
    """Mean squared error between what the purifier makes of an attacked image and the clean one.

    attack, classifier: what made the attacked images, and the SHA-256 of whom it was made on, for the record.
    """

    attack: str
    classifier: str

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean over pixels and images of (attacked, clean)."""
        x_adv, clean = batch
        return F.mse_loss(_out(model, x_adv), clean)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the negative error, so that higher is better."""
        x_adv, clean = validation.batch(torch.arange(len(validation)))
        device = next(model.parameters()).device
        with torch.no_grad():
            pairs = zip(x_adv.split(500), clean.split(500), strict=True)
            summed = sum(float(F.mse_loss(_out(model, a.to(device)).cpu(), b)) * len(a) for a, b in pairs)
        return {"negative mse": -summed / len(x_adv)}


def _out(model: nn.Module, x_adv: Tensor) -> Tensor:
    """What it makes of images that the paper's PGD has taken out of [0, 1]."""
    out: Tensor = model.reconstructed(x_adv) if isinstance(model, ConvAutoencoder) else model(x_adv)
    return out.float()


def as_many_steps(n: int) -> int:
    """Returns how many epochs over n images take as many steps as the paper's ten over 60,000."""
    return max(1, round(10 * 60_000 / n))


def conv_autoencoder(
    classifier: nn.Module,
    images: Images,
    attack: Attack,
    *,
    recipe: Recipe,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns the paper's auto-encoder for one attack, made on the classifier alone before training begins.

    classifier: on images of 32×32, in training mode while it is attacked.
    images: to train on, the last 1/12 of which only validate.
    progress: hears of the attack, image by image, and then of the training, step by step.
    """
    x, y = resize(images.x, 32).to(device), images.y.to(device)
    how: dict[str, Any] = {"seed": recipe.seed, "mode": MODE, "slots": SLOTS, "precision": recipe.precision}
    x_adv = attack(classifier.to(device), x, y, progress=progress, **how).x
    kept, val = Pairs(x_adv.cpu(), x.cpu()).split(max(1, len(x) // 12))
    with seeded(recipe.seed):
        model = ConvAutoencoder(images.shape[0])
    objective = Reconstruct(attack.name, weights.digest(classifier))
    history = fit(model, objective, kept, val, recipe, checkpoint=checkpoint, device=device, progress=progress)
    made_with = {"defence": "conv-autoencoder", "attack": attack.name, "eps": float(attack.threat.eps)}
    return Trained(model, history, record(model, images, recipe, repr(objective), history, len(images)) | made_with)
