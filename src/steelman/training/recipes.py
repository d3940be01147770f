"""How to fit each model and defence: numbers that work, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steelman.training.recipe import Recipe

CNN = Recipe(epochs=20, rate=4e-3, weight_decay=0.05, average=0.998)
VGG = Recipe(epochs=15, optimiser="sgd", rate=0.05, weight_decay=5e-4, average=0.99)
PAPER_VGG = Recipe(
    epochs=10, batch_size=64, optimiser="sgd", rate=1e-3, momentum=0.0, schedule="constant", precision="auto"
)
UNET = Recipe(epochs=12, rate=2e-3, weight_decay=0.01, average=0.998, clip=1.0)

LENET = Recipe(epochs=15, rate=2e-3, weight_decay=0.01, average=0.998)
ROBUST = Recipe(epochs=15, rate=2e-3, average=0.998)

CONV_AUTOENCODER = Recipe(epochs=10, batch_size=64, optimiser="adam", rate=1e-3, schedule="constant")
"""Adam at 1e-3, batches of 64, ten epochs. Source: code of arXiv 2312.03520."""

DEFENSE_GAN = Recipe(epochs=20, batch_size=64, optimiser="adam", rate=5e-4, momentum=0.5, beta2=0.9, average=0.999)
"""Adam's decays are those of the code of Samangouei et al. 2018, which takes a constant rate of 1e-4 and far longer."""
DEFENSE_GAN_ENCODER = Recipe(epochs=4, rate=2e-3, weight_decay=0.01, average=0.998, clip=1.0)

BAYESIAN_AUTOENCODER = Recipe(epochs=5, rate=8e-3, weight_decay=0.01, average=0.99, clip=1.0)

PUVAE = Recipe(epochs=12, rate=2e-3, average=0.998, clip=5.0)
PUVAE_HARDENED = Recipe(epochs=8, rate=2e-3, weight_decay=0.01, average=0.998, clip=5.0)

MAGNET = Recipe(epochs=100, batch_size=256, optimiser="adam", rate=1e-3, schedule="constant", precision="fp32")
"""Source: code of Meng & Chen 2017 (MagNet), for MNIST."""

ROBUST_AUTOENCODER = Recipe(epochs=20, rate=4e-3, weight_decay=0.02, average=0.998, clip=5.0)
CERTIFIED_AUTOENCODER = Recipe(epochs=50, rate=1e-3, average=0.998, clip=8.0)

DETECTOR = Recipe(epochs=8, rate=4e-3, weight_decay=0.01, average=0.99)

RECIPES: Mapping[str, Recipe] = {
    "cnn": CNN,
    "lenet": LENET,
    "vgg16": VGG,
    "paper_vgg": PAPER_VGG,
    "robust": ROBUST,
    "unet": UNET,
    "bayesian-autoencoder": BAYESIAN_AUTOENCODER,
    "conv-autoencoder": CONV_AUTOENCODER,
    "detector": DETECTOR,
    "defense-gan": DEFENSE_GAN,
    "defense-gan-encoder": DEFENSE_GAN_ENCODER,
    "certified-autoencoder": CERTIFIED_AUTOENCODER,
    "magnet": MAGNET,
    "puvae": PUVAE,
    "puvae-hardened": PUVAE_HARDENED,
    "robust-autoencoder": ROBUST_AUTOENCODER,
}

MIRRORED = frozenset({"fashion-mnist", "cifar-10"})
"""Data sets whose images mean the same in a mirror."""


def named(name: str | Recipe, **changes: object) -> Recipe:
    """Returns a recipe, or that of a model or purifier by its name, with the changes that are not None."""
    recipe = name if isinstance(name, Recipe) else RECIPES.get(name, CNN)
    return replace(recipe, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
