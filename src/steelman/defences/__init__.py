"""Defences: modules in front of a classifier, composed by `nn.Sequential`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from torch import nn

from steelman.defences.bayesian import BayesianAutoencoder
from steelman.defences.defense_gan import DefenseGAN
from steelman.defences.jpeg import JPEG, DifferentiableJPEG
from steelman.defences.magnet import Reformer
from steelman.defences.purifiers import ConvAutoencoder, UNetPurifier
from steelman.defences.puvae import PuVAE
from steelman.defences.rejecting import Rejecting, reject
from steelman.defences.robust import CertifiedAutoencoder, RobustAutoencoder
from steelman.defences.smoothing import ABSTAINED, Certificate, Smoothed
from steelman.defences.straight_through import StraightThrough
from steelman.defences.transforms import BitDepth, MedianSmoothing, RandomResizePad
from steelman.defences.variation import TotalVariation
from steelman.errors import InputError, unknown
from steelman.registry import Registry, told
from steelman.weights import Shelf

__all__ = [
    "ABSTAINED",
    "JPEG",
    "BayesianAutoencoder",
    "BitDepth",
    "Certificate",
    "CertifiedAutoencoder",
    "ConvAutoencoder",
    "DefenseGAN",
    "DifferentiableJPEG",
    "MedianSmoothing",
    "PuVAE",
    "RandomResizePad",
    "Reformer",
    "Rejecting",
    "RobustAutoencoder",
    "Smoothed",
    "StraightThrough",
    "TotalVariation",
    "UNetPurifier",
    "build",
    "catalogue",
    "guard",
    "load",
    "purifiers",
    "reject",
    "shipped",
    "transforms",
]

purifiers: dict[str, type[nn.Module]] = {
    "bayesian-autoencoder": BayesianAutoencoder,
    "certified-autoencoder": CertifiedAutoencoder,
    "conv-autoencoder": ConvAutoencoder,
    "defense-gan": DefenseGAN,
    "magnet": Reformer,
    "puvae": PuVAE,
    "robust-autoencoder": RobustAutoencoder,
    "unet": UNetPurifier,
}
"""What is trained and goes in front of a classifier."""

transforms: dict[str, type[nn.Module]] = {
    "bit-depth": BitDepth,
    "differentiable-jpeg": DifferentiableJPEG,
    "jpeg": JPEG,
    "median": MedianSmoothing,
    "resize-pad": RandomResizePad,
    "total-variation": TotalVariation,
}
"""What goes in front of a classifier and needs no training."""

catalogue: Registry[Callable[..., nn.Module]] = Registry("defence", purifiers | transforms, group="steelman.defences")

_shelf = Shelf(Path(__file__).parent / "shipped", catalogue)


def guard(purifier: nn.Module, classifier: nn.Module) -> nn.Sequential:
    """Returns the pipeline: the classifier with the purifier in front, which is the adaptive attacker's model too."""
    return nn.Sequential(purifier, classifier).eval()


def shipped() -> list[str]:
    """Returns the names of the defences whose trained weights ship, as in "mnist/unet"."""
    return _shelf.names()


def load(name: str | Path) -> nn.Module:
    """Returns a trained defence in evaluation mode.

    name: a shipped one, as in "mnist/unet", or a safetensors file that `steelman train purifier` wrote.
    Raises InputError for another name or file.
    """
    return _shelf.load(name)


def build(name: str, *, channels: int = 1, **settings: object) -> nn.Module:
    """Returns an untrained defence by its catalogue name.

    settings: its own arguments, by name.
    Raises InputError for another name, and for settings that it does not have or cannot use.
    """
    made = catalogue.get(name)
    takes = inspect.signature(made).parameters
    for key in settings.keys() - takes.keys():
        raise unknown(f"setting of {name}", key, takes)
    if "channels" in takes:
        settings = {"channels": channels, **settings}
    try:
        return made(**settings)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise InputError(f"expected settings that build {name}, but {told(error)}") from None
