"""`steelman train purifier`."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli import bring
from steelman.cli.bring import NORMS, USUAL
from steelman.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Data
    from steelman.norms import Ball
    from steelman.training import Recipe, Trained

HELP = "a purifier that goes in front of a classifier"
EXAMPLES = (
    "steelman train purifier --data fashion-mnist --classifier fashion-mnist/cnn --out runs/unet.safetensors",
    "steelman train purifier --data mnist --purifier conv-autoencoder --attack fgsm --out runs/paper.safetensors",
)


def add(command: argparse.ArgumentParser) -> None:
    """Adds the options of its own."""
    command.add_argument("--classifier", help="that it goes in front of, as in mnist/cnn")
    command.add_argument("--weights", type=Path, help="safetensors of that classifier, if none ship")
    command.add_argument("--purifier", default="unet", help=f"{', '.join(_TRAIN)} (unet)")
    command.add_argument(
        "--attack", choices=["fgsm", "pgd"], default="fgsm", help="conv-autoencoder: what it undoes (fgsm)"
    )
    command.add_argument(
        "--norm", choices=NORMS, default="Linf", help="robust- and certified-autoencoder: what to withstand (Linf)"
    )
    command.add_argument(
        "--eps", type=float, help="their radius, in units of [0, 1] images (0.3 for mnist, 0.1 for fashion-mnist)"
    )
    command.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of theirs, as in steps=10 reach=1.1"
    )
    command.add_argument(
        "--start", type=Path, help="robust- and certified-autoencoder: weights to go on from, as of an earlier training"
    )
    command.add_argument(
        "--generator", help="defense-gan-encoder: the defense-gan whose generator it is for (the shipped one)"
    )


def named(options: argparse.Namespace) -> tuple[str, str]:
    """Returns what is trained, and the name of its recipe."""
    return options.purifier, options.purifier


def train(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    """Trains it."""
    from steelman.errors import unknown

    if options.purifier not in _TRAIN:
        raise unknown("purifier", options.purifier, _TRAIN)
    return _TRAIN[options.purifier](options, images, recipe, how)


def _unet(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import defences, training

    classifier = _target(options, images)
    with training.seeded(recipe.seed):
        purifier = defences.build(options.purifier, channels=images.test.shape[0])
    return training.purifier(purifier, classifier, images, name=options.purifier, recipe=recipe, **how)


def _autoencoder(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import models
    from steelman.studies.autoencoder import as_many_steps, train_autoencoder

    if images.train is None:
        raise InputError(f"expected training images in {images.name}, got a test split alone")
    target = _target(options, images)
    published = target.inner if isinstance(target, models.Resized) else models.Resized(target, images.test.shape[-1])
    if options.epochs is None:
        recipe = replace(recipe, epochs=as_many_steps(len(images.train)))
    return train_autoencoder(published, images.train, options.attack, recipe=recipe, **how)


def _defense_gan(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import training
    from steelman.defences import DefenseGAN

    shape = images.test.shape
    with training.seeded(recipe.seed):
        purifier = DefenseGAN(channels=shape[0], side=shape[-1], power=20.0)
    return training.defense_gan(purifier, _target(options, images), images, recipe=recipe, **how)


def _defense_gan_encoder(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import defences, training

    generator = defences.load(options.generator or f"{images.id}/defense-gan")
    if not isinstance(generator, defences.DefenseGAN):
        raise InputError(
            f"expected a Defense-GAN as --generator, got {type(generator).__name__}: "
            "steelman train purifier --purifier defense-gan makes one"
        )
    settings = generator.settings | {"encoder": True, "steps": 0, "starts": 1, "gradient": "encoder"}
    with training.seeded(recipe.seed):
        purifier = defences.DefenseGAN(**settings)
    return training.defense_gan_encoder(generator, purifier, _target(options, images), images, recipe=recipe, **how)


def _bayesian(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import training
    from steelman.defences import BayesianAutoencoder

    classifier = _target(options, images)
    with training.seeded(recipe.seed):
        purifier = BayesianAutoencoder(channels=images.test.shape[0])
    return training.bayesian_autoencoder(purifier, classifier, images, recipe=recipe, **how)


def _robust(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import training

    purifier, settings = _built(options, images, recipe, _ROBUST)
    return training.robust_autoencoder(
        purifier,
        _target(options, images),
        images,
        name=options.purifier,
        threat=_threat(options, images),
        recipe=recipe,
        **settings,
        **how,
    )


def _certified(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import training
    from steelman.defences import CertifiedAutoencoder

    purifier, settings = _built(options, images, recipe, _CERTIFIED)
    assert isinstance(purifier, CertifiedAutoencoder)
    return training.certified_autoencoder(
        purifier,
        _target(options, images),
        images,
        name=options.purifier,
        threat=_threat(options, images),
        recipe=recipe,
        **settings,
        **how,
    )


def _built(
    options: argparse.Namespace, images: Data, recipe: Recipe, takes: tuple[str, ...]
) -> tuple[nn.Module, dict[str, Any]]:
    """The purifier as --set builds it, and what --set says of its training."""
    from steelman import defences, training, weights

    name = options.purifier
    (channels, side, _), classes = images.test.shape, images.test.num_classes
    builds = inspect.signature(defences.purifiers[name]).parameters.keys() - {"channels", "side", "classes"}
    settings = bring.settings(options.set, f"setting of {name}", {*takes, *builds})
    built = {key: settings.pop(key) for key in builds & settings.keys()}
    with training.seeded(recipe.seed):
        purifier = defences.build(name, channels=channels, side=side, classes=classes, **built)
    if options.start is not None:
        weights.fill(purifier, options.start)
    return purifier, settings


def _puvae(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import training
    from steelman.defences import PuVAE

    (channels, side, _), classes = images.test.shape, images.test.num_classes
    with training.seeded(recipe.seed):
        purifier = PuVAE(channels=channels, side=side, classes=classes)
    hardened = options.purifier == "puvae-hardened"
    return training.puvae(purifier, _target(options, images), images, recipe=recipe, attacked=hardened, **how)


def _magnet(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import training
    from steelman.defences import Reformer

    with training.seeded(recipe.seed):
        purifier = Reformer(channels=images.test.shape[0])
    return training.magnet(purifier, images, recipe=recipe, **how)


def _threat(options: argparse.Namespace, images: Data) -> Ball:
    from steelman import norms

    eps = options.eps if options.eps is not None else USUAL.get(images.id) if options.norm == "Linf" else None
    if eps is None:
        raise InputError(f"expected --eps, the {options.norm} radius to withstand on {images.name}: say --eps 0.1")
    return getattr(norms, options.norm)(eps)  # type: ignore[no-any-return]


def _target(options: argparse.Namespace, images: Data) -> nn.Module:
    named = argparse.Namespace(model=options.classifier, weights=options.weights, device="cpu")
    return bring.model(named, images.test)


_TRAIN = {
    "unet": _unet,
    "bayesian-autoencoder": _bayesian,
    "certified-autoencoder": _certified,
    "conv-autoencoder": _autoencoder,
    "defense-gan": _defense_gan,
    "defense-gan-encoder": _defense_gan_encoder,
    "magnet": _magnet,
    "puvae": _puvae,
    "puvae-hardened": _puvae,
    "robust-autoencoder": _robust,
}
"""How each purifier is trained."""

_ROBUST = (
    "steps",
    "shift",
    "reach",
    "early",
    "ramp",
    "portion",
    "clean",
    "unaware",
    "own",
    "fidelity",
    "bounds",
    "consistency",
    "pairing",
)
_CERTIFIED = ("reach", "clean", "shift")
"""Settings of a training; how the purifier is built comes besides."""
