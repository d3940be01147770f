"""Defences: modules in front of a classifier, composed by `nn.Sequential`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from steelman import weights
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
from steelman.registry import Registry
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
    "ready",
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


def ready(
    name: str, settings: Mapping[str, object], *, data: str = "", channels: int = 1, code: bool = False
) -> nn.Module:
    """Returns a defence that can be used, in evaluation mode.

    name: a shipped one, which need not say the data set, as in "unet" for `data` "mnist"; a safetensors file; one of
    the catalogue that needs no training, or that `settings` give `weights`; a plug-in's.
    settings: its own, and `weights`, safetensors of its training.
    code: also take "package.module:name" and "path/to/file.py:name", which run.
    Raises InputError for another name, and for settings that it does not have or cannot use.
    """
    own = {key: value for key, value in settings.items() if key != "weights"}
    file = str(settings["weights"]) if "weights" in settings else None
    trained = next((each for each in (f"{data}/{name}", name) if each in shipped()), name)
    if trained in shipped() or (name not in catalogue and ":" not in name and Path(name).is_file()):
        if settings:
            raise InputError(
                f"expected no settings for the defence {name}, which is trained, got {', '.join(settings)}"
            )
        return load(trained)
    if (name not in catalogue and ":" not in name) or (name in purifiers and file is None):
        ways = ("package.module:name", "path/to/file.py:name") if code else ()
        usable = (each for each in catalogue if each not in purifiers)
        raise unknown("defence", name, [*shipped(), *usable, "none", "a safetensors file", *ways])
    return build(catalogue.resolve(name, code=code), channels=channels, weights_file=file, **own).eval()


def build(
    name: str | Callable[..., nn.Module],
    *,
    channels: int = 1,
    weights_file: Path | str | None = None,
    **settings: object,
) -> nn.Module:
    """Returns a defence by its catalogue name, untrained unless a file fills it.

    name: or a class or a function, as the catalogue holds them, that gives an nn.Module from [0, 1] images to the same;
    it is called with `channels` if it takes them.
    weights_file: safetensors of its training, which also say how it is built.
    settings: its own arguments, by name.
    Raises InputError for another name, for settings that it does not have or cannot use, and for other weights.
    """
    name, kind = catalogue.named(name)
    if weights_file is not None:
        settings = dict(weights.read(weights_file)[1].get("arguments") or {}) | settings  # type: ignore[call-overload]
    module = weights.build(name, kind, settings, channels=channels)
    if weights_file is not None:
        weights.fill(module, weights_file)
    return module
