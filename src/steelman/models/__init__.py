"""Classifiers from [0, 1] images to logits, and the weights that ship."""

from __future__ import annotations

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
    name: str | Callable[..., nn.Module],
    *,
    channels: int,
    classes: int,
    weights_file: Path | str | None = None,
    **settings: object,
) -> nn.Module:
    """Returns a classifier by its catalogue name, or a trained one, shipped by "data set/model" or of a file.

    name: or a class or a function, as the catalogue holds them, that gives an nn.Module from [0, 1] images to logits;
    it is called with `channels` and `classes`, as far as it takes them.
    weights_file: safetensors to fill it with, which also say how a model of the catalogue is built.
    settings: of a model of the catalogue, numbers and words by name, as its class lists them.
    Raises InputError if the name, what it gives, the weights or the settings are wrong.
    """
    if isinstance(name, str) and name not in catalogue and (name in shipped() or Path(name).is_file()):
        if settings:
            raise InputError(
                f"expected no settings for {name}, which is trained, got {', '.join(settings)}: leave them out"
            )
        model = load(name)
    else:
        if isinstance(name, str) and name not in catalogue and ":" not in name:
            raise unknown("model", name, [*catalogue, *shipped(), "a safetensors file"])
        name, kind = catalogue.named(name)
        wanted = {"channels": channels, "classes": classes, **settings}
        if weights_file is not None and _saved(name, wanted, weights_file):
            return weights.rebuild({name: kind}, name, weights_file)
        model = weights.build(name, kind, settings, channels=channels, classes=classes)
    if weights_file is not None:
        weights.fill(model, weights_file)
    return model.eval()


def _saved(name: str, wanted: Mapping[str, object], path: Path | str) -> bool:
    """Whether a file says how to build this model, and in no other way than is wanted."""
    settings = weights.read(path)[1]
    arguments = settings.get("arguments")
    return settings.get("model") == name and isinstance(arguments, dict) and wanted.items() <= arguments.items()
