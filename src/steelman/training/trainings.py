"""Every purifier that can be trained, by name: what builds it, what fits it, and numbers that work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Signature, signature
from pathlib import Path
from typing import Any

from torch import nn

from steelman import defences, weights
from steelman.data import Data
from steelman.defences import DefenseGAN
from steelman.errors import InputError, unknown
from steelman.progress import OnProgress
from steelman.registry import takes
from steelman.training.autoencoders import magnet, puvae
from steelman.training.bayesian import bayesian_autoencoder
from steelman.training.generators import defense_gan, defense_gan_encoder
from steelman.training.purifiers import certified_autoencoder, purifier, robust_autoencoder
from steelman.training.recipe import Recipe
from steelman.training.recipes import (
    BAYESIAN_AUTOENCODER,
    CERTIFIED_AUTOENCODER,
    DEFENSE_GAN,
    DEFENSE_GAN_ENCODER,
    MAGNET,
    PUVAE,
    PUVAE_HARDENED,
    ROBUST_AUTOENCODER,
    UNET,
)
from steelman.training.seeding import seeded
from steelman.training.trained import Trained

GIVEN = ("model", "classifier", "data", "name", "threat", "recipe", "checkpoint", "device", "progress")
"""What a training is called with, as far as it takes it; all else that it takes is a setting of its own."""

FORMER = {"unaware": "oblivious"}
"""Settings by the names that they had in the last release, which are taken too."""


@dataclass(frozen=True)
class PurifierTraining:
    """How a purifier is trained; it stands among the defences as what builds it does, and is called as that is.

    build: a class or a function that gives it; called with settings of its own, and with `channels`, `side`, `classes`
    and `dataset` (its id), as far as it takes them.
    fit: returns the `Trained`; called by name with what it takes of `GIVEN`, and with settings of its own.
    recipe: numbers that work.  more: settings that `fit` takes without naming them.
    """

    build: Callable[..., nn.Module]
    fit: Callable[..., Trained] = purifier
    recipe: Recipe = UNET
    more: tuple[str, ...] = ()

    @property
    def builds(self) -> set[str]:
        """The settings of how it is built."""
        return set(takes(self.build)) - {"channels", "side", "classes", "dataset"}

    @property
    def fits(self) -> set[str]:
        """The settings of how it is fitted."""
        known = {*takes(self.fit), *self.more} - set(GIVEN)
        return known | {former for former, name in FORMER.items() if name in known}

    @property
    def __signature__(self) -> Signature:
        return signature(self.build)

    def __call__(self, *arguments: Any, **settings: Any) -> nn.Module:
        """Returns the purifier, untrained."""
        return self.build(*arguments, **settings)

    def wants(self, name: str) -> bool:
        """Returns whether it is fitted with this one of `GIVEN`."""
        return name in takes(self.fit)

    def train(
        self, data: Data, *, recipe: Recipe, settings: Mapping[str, Any], start: Path | None = None, **given: Any
    ) -> Trained:
        """Returns what a training leaves.

        settings: of how it is built and fitted, by name.  start: weights to go on from.  given: others of `GIVEN`.
        Raises InputError for settings that it does not have or cannot use.
        """
        (channels, side, _), classes = data.test.shape, data.test.num_classes
        settings = {FORMER.get(key, key): value for key, value in settings.items()}
        name = str(given.get("name", "the purifier"))
        for key in settings:
            if key not in self.builds | self.fits:
                raise unknown(f"setting of {name}", key, self.builds | self.fits)
        own = {key: value for key, value in settings.items() if key in self.builds}
        with seeded(recipe.seed):
            offered = {"channels": channels, "side": side, "classes": classes, "dataset": data.id}
            model = weights.build(name, self.build, own, **offered)
        if start is not None:
            weights.fill(model, start)
        known = given | {"model": model, "data": data, "recipe": recipe}
        passed = {key: value for key, value in known.items() if self.wants(key)}
        return self.fit(**passed, **{key: value for key, value in settings.items() if key in self.fits})


def _with_encoder(dataset: str, generator: str | None = None) -> DefenseGAN:
    settings = _generator(dataset, generator).settings
    return DefenseGAN(**settings | {"encoder": True, "steps": 0, "starts": 1, "gradient": "encoder"})


def _encoder(
    model: DefenseGAN,
    classifier: nn.Module,
    data: Data,
    recipe: Recipe,
    checkpoint: Path | None,
    device: str,
    progress: OnProgress | None,
    generator: str | None = None,
) -> Trained:
    how: dict[str, Any] = {"recipe": recipe, "checkpoint": checkpoint, "device": device, "progress": progress}
    return defense_gan_encoder(_generator(data.id, generator), model, classifier, data, **how)


def _generator(dataset: str, name: str | None) -> DefenseGAN:
    found = defences.load(name or f"{dataset}/defense-gan")
    if not isinstance(found, DefenseGAN):
        raise InputError(
            f"expected a Defense-GAN as generator, got {type(found).__name__}: "
            "steelman train purifier --purifier defense-gan makes one"
        )
    return found


_ROBUST = (
    "reach",
    "early",
    "ramp",
    "portion",
    "clean",
    "oblivious",
    "own",
    "fidelity",
    "bounds",
    "consistency",
    "pairing",
)

TRAININGS: dict[str, PurifierTraining] = {
    "unet": PurifierTraining(defences.UNetPurifier),
    "bayesian-autoencoder": PurifierTraining(defences.BayesianAutoencoder, bayesian_autoencoder, BAYESIAN_AUTOENCODER),
    "certified-autoencoder": PurifierTraining(
        defences.CertifiedAutoencoder, certified_autoencoder, CERTIFIED_AUTOENCODER
    ),
    "defense-gan": PurifierTraining(partial(DefenseGAN, power=20.0), defense_gan, DEFENSE_GAN),
    "defense-gan-encoder": PurifierTraining(_with_encoder, _encoder, DEFENSE_GAN_ENCODER),
    "magnet": PurifierTraining(defences.Reformer, magnet, MAGNET),
    "puvae": PurifierTraining(defences.PuVAE, puvae, PUVAE),
    "puvae-hardened": PurifierTraining(defences.PuVAE, partial(puvae, attacked=True), PUVAE_HARDENED),
    "robust-autoencoder": PurifierTraining(
        defences.RobustAutoencoder, robust_autoencoder, ROBUST_AUTOENCODER, more=_ROBUST
    ),
}
"""By name."""


def training_of(name: str, *, code: bool = False) -> PurifierTraining:
    """Returns how a purifier is trained.

    name: of `TRAININGS`, or of a plug-in among the defences: a `PurifierTraining`, or a class, which is then trained as
    `unet` is.
    code: also take "package.module:name" and "path/to/file.py:name", which run.
    Raises InputError for another name.
    """
    if name in TRAININGS:
        return TRAININGS[name]
    brought = [each for each in defences.catalogue if each not in defences.catalogue.shipped]
    if name not in brought and ":" not in name:
        raise unknown("purifier", name, [*TRAININGS, *brought])
    found: object = defences.catalogue.get(name, code=code)
    return found if isinstance(found, PurifierTraining) else PurifierTraining(found)  # type: ignore[arg-type]
