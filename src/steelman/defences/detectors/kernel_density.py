"""How rare an image's features are among those of clean images of the class that it is classified as."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from steelman.defences import input_checks
from steelman.defences.detectors.features import CODE, features, gathered
from steelman.defences.detectors.watched import Watched, demand, examples
from steelman.errors import InputError


class KernelDensity(nn.Module):
    """Minus the log of the Gaussian kernel density of an image's features, among clean ones of its predicted class.

    bandwidth: of the kernel exp(-d² / bandwidth²), > 0.  each: clean images that are kept of each class.
    layer: the name of a module or "code", what the last linear layer is given.
    Source: Feinman et al. 2017, section 4.1, with 1.2 for MNIST; there every training image is kept.
    """

    name = "kernel-density"
    reference: Tensor
    labels: Tensor

    def __init__(self, classifier: nn.Module, bandwidth: float = 1.2, each: int = 60, layer: str = CODE) -> None:
        super().__init__()
        if not bandwidth > 0 or each < 1:
            raise InputError(f"expected a bandwidth > 0 and at least 1 image a class, got {bandwidth!r} and {each!r}")
        self.settings: dict[str, object] = {"bandwidth": bandwidth, "each": each, "layer": layer}
        self.bandwidth = bandwidth
        self.each = each
        self.layer = layer
        self.watched = Watched(classifier)
        self.register_buffer("reference", torch.empty(0))
        self.register_buffer("labels", torch.empty(0, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        input_checks.check(self, x)
        demand(self, self.reference)
        assert self.watched.classifier is not None
        logits, (found,) = features(self.watched.classifier, (self.layer,), x)
        near = -(torch.cdist(found, self.reference.to(found)) / self.bandwidth).square()
        own = logits.argmax(1)[:, None] == self.labels
        # a class of which nothing was kept has no density: the nearest of any class stands in
        own = own | ~own.any(1, keepdim=True)
        return own.sum(1).log() - near.masked_fill(~own, -torch.inf).logsumexp(1)

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Keeps the features of the first clean images of each class, and returns itself."""
        examples(self, x, y, attacked)
        assert self.watched.classifier is not None
        kept = torch.cat([(y == kind).nonzero()[: self.each, 0] for kind in y.unique()])
        _, (found,) = gathered(self.watched.classifier, (self.layer,), x[kept])
        self.reference, self.labels = found, y[kept]
        return self
