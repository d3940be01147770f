"""A network that learns to tell attacked images from clean ones."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from steelman.defences import input_checks
from steelman.defences.detectors.watched import Watched, examples
from steelman.errors import InputError


class Binary(nn.Module):
    """The log-odds that an image was attacked, by a small convolutional network on images or on a layer's output.

    channels: of what it looks at.  width: of its first layer.
    layer: the name of a module of the classifier whose output, (N, channels, h, w), it looks at; "" for the image.
    It starts untrained: `steelman train detector` fits it, or `training.detector`.
    Source: Gong et al. 2017 on images, Metzen et al. 2017 on layers; the network is ours.
    """

    name = "binary"
    trained: Tensor

    def __init__(self, classifier: nn.Module, channels: int = 1, width: int = 16, layer: str = "") -> None:
        super().__init__()
        if layer not in dict(classifier.named_modules()):
            raise InputError(f"expected a module of the classifier as the layer to look at, got {layer!r}")
        self.settings: dict[str, object] = {"channels": channels, "width": width, "layer": layer}
        self.layer = layer
        self.watched = Watched(classifier)
        self.register_buffer("trained", torch.zeros(1))
        self.network = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(self._seen(x) if self.layer else x)
        return out[:, 0]

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        input_checks.check(self, x)
        if not bool(self.trained):
            raise InputError(
                "expected a trained Binary, got one before fitting: steelman train detector does it, "
                "or load one with detectors.load"
            )
        out: Tensor = self(x)
        return out.float()

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Raises InputError unless it is trained: a network needs epochs, which `training.detector` runs."""
        examples(self, x, y, attacked)
        if not bool(self.trained):
            raise InputError("expected training.detector('binary', …) to fit Binary, which is a network to train")
        return self

    def _seen(self, x: Tensor) -> Tensor:
        """The output of the layer, by one pass through the classifier."""
        found: list[Tensor] = []
        classifier = self.watched.classifier
        assert classifier is not None
        # a copy, since the classifier may go on to change its output in place
        hook = classifier.get_submodule(self.layer).register_forward_hook(lambda _, __, out: found.append(out.clone()))
        try:
            classifier(x)
        finally:
            hook.remove()
        return found[0]
