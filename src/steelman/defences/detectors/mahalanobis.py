"""The distance of an image's features from those of clean images of the nearest class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from steelman.defences import input_checks
from steelman.defences.detectors.features import features, gathered, layers_of
from steelman.defences.detectors.logistic import Logistic
from steelman.defences.detectors.watched import Watched, demand, examples

_RIDGE = 1e-3


class Mahalanobis(nn.Module):
    """Squared distances of several layers' features from the nearest class, under one covariance for all classes.

    The layers are weighted by logistic regression on one attack, or alike where none is given. Covariances get a
    thousandth of their mean variance on the diagonal, so that a feature that is always zero has an inverse.
    layers: names of modules and "code"; the stages of the network and its code unless told.
    Source: Lee et al. 2018, section 2, eqs. 1 and 2, without its input pre-processing, which needs a gradient and an
    attack to choose its size by.
    """

    name = "mahalanobis"

    def __init__(self, classifier: nn.Module, layers: Sequence[str] = ()) -> None:
        super().__init__()
        self.layers = tuple(layers) or layers_of(classifier)
        self.settings: dict[str, object] = {"layers": list(self.layers)}
        self.watched = Watched(classifier)
        self.gaussians = nn.ModuleList(Gaussians() for _ in self.layers)
        self.weigh = Logistic()

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        input_checks.check(self, x)
        demand(self, self.weigh.weight)
        assert self.watched.classifier is not None
        out: Tensor = self.weigh(self._distances(features(self.watched.classifier, self.layers, x)[1]))
        return out

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Fits the Gaussians to clean images, and the weights of the layers to one attack, and returns itself."""
        examples(self, x, y, attacked)
        assert self.watched.classifier is not None
        clean = gathered(self.watched.classifier, self.layers, x)[1]
        for gaussians, found in zip(self.gaussians, clean, strict=True):
            assert isinstance(gaussians, Gaussians)
            gaussians.fit(found, y)
        x_adv = None
        if attacked is not None:
            x_adv = self._distances(gathered(self.watched.classifier, self.layers, attacked)[1])
        self.weigh.fit(self._distances(clean), x_adv)
        return self

    def _distances(self, found: list[Tensor]) -> Tensor:
        return torch.stack([near(part) for near, part in zip(self.gaussians, found, strict=True)], 1)


class Gaussians(nn.Module):
    """One Gaussian for each class, all of one covariance: (N, D) to the squared distance from the nearest, (N,)."""

    means: Tensor
    whiten: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.empty(0))
        self.register_buffer("whiten", torch.empty(0))

    def forward(self, found: Tensor) -> Tensor:
        demand(self, self.means, self.whiten)
        return torch.cdist(found @ self.whiten, self.means @ self.whiten).square().amin(1)

    def fit(self, found: Tensor, y: Tensor) -> None:
        """Fits to features (N, D) and labels (N,); a class without an image has no Gaussian."""
        kinds, member = y.unique(return_inverse=True)
        means = torch.stack([found[member == at].double().mean(0) for at in range(len(kinds))])
        spread = found.double() - means[member]
        covariance = spread.T @ spread / len(found)
        ridge = _RIDGE * covariance.diagonal().mean().clamp_min(1e-12)
        inverse = torch.linalg.inv(covariance + ridge * torch.eye(len(covariance)).to(covariance))
        self.means = means.to(found)
        # contiguous, as a file keeps it: another layout multiplies to another rounding
        self.whiten = torch.linalg.cholesky((inverse + inverse.T) / 2).to(found).contiguous()
