"""Classifiers from [0, 1] images to logits, and the weights that ship."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from steelman import weights
from steelman.errors import InputError, unknown
from steelman.models.cnn import CNN
from steelman.models.compiled import Compiled
from steelman.models.denoising import DenoisingBlock
from steelman.models.folding import folded
from steelman.models.lenet import LeNet
from steelman.models.ramped import Ramp, RampCNN, RampResNet
from steelman.models.resized import Resized, fitted, resize
from steelman.models.resnet import ResNet18
from steelman.models.vgg import VGG16, PaperVGG, transfer
from steelman.registry import Registry
from steelman.weights import Shelf

__all__ = [
    "CNN",
    "VGG16",
    "Compiled",
    "DenoisingBlock",
    "LeNet",
    "PaperVGG",
    "Ramp",
    "RampCNN",
    "RampResNet",
    "ResNet18",
    "Resized",
    "build",
    "catalogue",
    "fitted",
    "folded",
    "load",
    "resize",
    "shipped",
    "transfer",
]

catalogue: Registry[Callable[..., nn.Module]] = Registry(
    "model",
    {
        "cnn": CNN,
        "lenet": LeNet,
        "ramp-cnn": RampCNN,
        "ramp-resnet": RampResNet,
        "resnet18": ResNet18,
        "vgg16": VGG16,
        "paper_vgg": PaperVGG,
    },
    group="steelman.models",
)

_shelf = Shelf(Path(__file__).parent / "shipped", catalogue)


def shipped() -> list[str]:
    """Returns the names of the classifiers whose trained weights ship, as in "mnist/cnn"."""
    return _shelf.names()


def load(name: Path | str) -> nn.Module:
    """Returns a trained classifier in evaluation mode.

    name: a shipped one, as in "mnist/cnn"; shipped() lists them. Or a safetensors file of `steelman train classifier`.
    Raises InputError for another name or file.
    """
    return _shelf.load(name)


def build(
    name: str, *, channels: int, classes: int, weights_file: Path | str | None = None, **settings: object
) -> nn.Module:
    """Returns a classifier by its catalogue name, by "package.module:factory", or shipped by "data set/model".

    A factory is called without arguments and gives an nn.Module from [0, 1] images to logits.
    weights_file: safetensors to fill it with, which also say how a model of the catalogue is built.
    settings: of a model of the catalogue, numbers and words by name, as its class lists them.
    Raises InputError if the name, the factory, the weights or the settings are wrong.
    """
    if settings and name not in catalogue:
        raise InputError(
            f"expected no settings for {name}, got {', '.join(settings)}: {', '.join(catalogue)} take some"
        )
    if ":" in name:
        model = _from_factory(name)
    elif name in catalogue:
        wanted = {"channels": channels, "classes": classes, **settings}
        if weights_file is not None and _saved(name, wanted, weights_file):
            return weights.rebuild(catalogue, name, weights_file)
        model = _from_catalogue(name, wanted)
    elif "/" in name:
        model = load(name)
    else:
        raise unknown("model", name, [*catalogue, *shipped(), "package.module:factory"])
    if weights_file is not None:
        weights.fill(model, weights_file)
    return model.eval()


def _saved(name: str, wanted: Mapping[str, object], path: Path | str) -> bool:
    """Whether a file says how to build this model, and in no other way than is wanted."""
    settings = weights.read(path)[1]
    arguments = settings.get("arguments")
    return settings.get("model") == name and isinstance(arguments, dict) and wanted.items() <= arguments.items()


def _from_catalogue(name: str, settings: Mapping[str, object]) -> nn.Module:
    takes = inspect.signature(catalogue[name]).parameters
    for key in settings:
        if key not in takes:
            raise unknown(f"setting of {name}", key, takes)
    try:
        return catalogue[name](**settings)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise InputError(f"expected settings that build {name}, but {_told(error)}") from None


def _from_factory(name: str) -> nn.Module:
    place, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(place), attribute)
    except (Exception, SystemExit) as error:  # a stranger's module can do anything while it is imported
        raise InputError(f"expected a factory at {name!r}, but {_told(error)}: is its folder on PYTHONPATH?") from error
    if not callable(factory):
        raise InputError(f"expected a factory at {name!r}, got {type(factory).__name__}: name a function or a class")
    try:
        model = factory()
    except (Exception, SystemExit) as error:
        raise InputError(
            f"expected {name!r} to build a model when called without arguments, but {_told(error)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"expected {name!r} to give an nn.Module, got {type(model).__name__}")
    return model


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
