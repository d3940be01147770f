"""The VGG-16 of Simonyan & Zisserman 2014 at 32×32, and the network that the paper's code calls VGG-16."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from steelman import weights
from steelman.errors import InputError

CONFIGURATION_D = (
    64,
    64,
    "pool",
    128,
    128,
    "pool",
    256,
    256,
    256,
    "pool",
    512,
    512,
    512,
    "pool",
    512,
    512,
    512,
    "pool",
)


SIDE = 32
"""Of the images that both take, in pixels."""


class VGG16(nn.Module):
    """Configuration D with batch norm: (N, channels, 32, 32) in [0, 1] to logits (N, classes).

    Its features carry the names of torchvision's vgg16_bn, so that such a checkpoint fits.
    Source: Simonyan & Zisserman 2014, table 1 D; batch norm after every convolution.
    """

    side = SIDE

    def __init__(self, channels: int = 1, classes: int = 10, dropout: float = 0.5) -> None:
        super().__init__()
        self.settings = {"channels": channels, "classes": classes, "dropout": dropout}
        layers: list[nn.Module] = []
        inside = channels
        for item in CONFIGURATION_D:
            if isinstance(item, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(inside, item, 3, padding=1), nn.BatchNorm2d(item), nn.ReLU()]
                inside = item
        self.features = nn.Sequential(*layers)
        self.classifier = _head(512, classes, dropout)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(_sized(self.features, x).flatten(1))
        return logits


class PaperVGG(nn.Module):
    """The network of the paper's code: (N, channels, 32, 32) in [0, 1] to logits (N, classes).

    Four blocks of two 3×3 convolutions with batch norm (64, 128, 256, 512), then 2048-4096-4096-classes with
    dropout .65.
    Source: code of arXiv 2312.03520, where it is called VGG-16.
    """

    side = SIDE

    def __init__(self, channels: int = 1, classes: int = 10, dropout: float = 0.65) -> None:
        super().__init__()
        self.settings = {"channels": channels, "classes": classes, "dropout": dropout}
        layers: list[nn.Module] = []
        inside = channels
        for width in (64, 128, 256, 512):
            for _ in range(2):
                layers += [nn.Conv2d(inside, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                inside = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = _head(2048, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(_sized(self.features, x).flatten(1))
        return logits


def transfer(checkpoint: Path | str, channels: int = 1, classes: int = 10, *, frozen: bool = True) -> VGG16:
    """Returns a VGG16 whose features come from a torchvision VGG-16 checkpoint, with a new head.

    checkpoint: vgg16 or vgg16_bn of torchvision, as safetensors or as a .pth (loaded with weights_only).
    channels: the first convolution is summed over its three colours and spread evenly, unless there are three.
    frozen: the features do not train, and their batch norm keeps the checkpoint's statistics.
    Raises InputError if the file is no such checkpoint.
    """
    state = {name: tensor for name, tensor in _checkpoint(Path(checkpoint)).items() if name.startswith("features.")}
    model = VGG16(channels, classes)
    convolutions = [name for name in state if name.endswith(".weight") and state[name].dim() == 4]
    own = [index for index, layer in enumerate(model.features) if isinstance(layer, nn.Conv2d)]
    if len(convolutions) != len(own):
        raise InputError(
            f"expected a torchvision VGG-16 checkpoint with {len(own)} convolutions under 'features.', "
            f"got {len(convolutions)} in {checkpoint}: give the state dict of vgg16 or vgg16_bn"
        )
    target = model.features.state_dict()
    try:
        for name, index in zip(sorted(convolutions, key=lambda name: int(name.split(".")[1])), own, strict=True):
            theirs = int(name.split(".")[1])
            weight = state[name]
            target[f"{index}.weight"] = _colours(weight, channels) if index == 0 else weight
            target[f"{index}.bias"] = state[f"features.{theirs}.bias"]
            for part in ("weight", "bias", "running_mean", "running_var"):
                if f"features.{theirs + 1}.running_var" in state:
                    target[f"{index + 1}.{part}"] = state[f"features.{theirs + 1}.{part}"]
        model.features.load_state_dict(target)
    except (KeyError, ValueError, RuntimeError):
        raise InputError(
            f"expected the layers and widths of VGG-16 configuration D, got others in {checkpoint}"
        ) from None
    if frozen:
        model.features = Frozen(*model.features)
    return model


class Frozen(nn.Sequential):
    """A sequence that neither trains nor updates its batch statistics, whatever mode its parent is in."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


def _head(features: int, classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, classes),
    )


def _sized(features: nn.Module, x: Tensor) -> Tensor:
    if x.shape[-2:] != (SIDE, SIDE):
        raise InputError(
            f"expected images of {SIDE}×{SIDE}, got {tuple(x.shape)}: "
            "put models.fitted(model, shape) in the model's place"
        )
    out: Tensor = features(x)
    return out


def _colours(weight: Tensor, channels: int) -> Tensor:
    if channels == 3:
        return weight
    return weight.sum(1, keepdim=True).repeat(1, channels, 1, 1) / channels


def _checkpoint(path: Path) -> dict[str, Tensor]:
    if not (path.is_file() and (zipfile.is_zipfile(path) or path.suffix in {".pth", ".pt"})):
        return weights.read(path)[0]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"expected a state dict in {path}, but it does not load with weights_only ({error})") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"expected a state dict of tensors in {path}, got {type(state).__name__}")
    return state
