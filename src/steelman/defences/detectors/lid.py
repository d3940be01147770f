"""Local intrinsic dimensionality: adversarial images lie where many directions are near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from steelman.defences import input_checks
from steelman.defences.detectors.features import features, gathered, layers_of
from steelman.defences.detectors.logistic import Logistic
from steelman.defences.detectors.watched import Watched, demand, examples
from steelman.errors import InputError


class LID(nn.Module):
    """The local intrinsic dimensionality at several layers, from the k nearest of a fixed set of clean images.

    The layers are weighted by logistic regression on one attack, or alike where none is given.
    k: neighbours.  reference: clean images among which they are looked for.
    layers: names of modules and "code"; the stages of the network and its code unless told.
    Source: Ma et al. 2018, eq. 4 and algorithm 1 (k 20 in minibatches of 100). There neighbours come from a minibatch
    around the image; here from one set that stays, so that an image's score does not depend on the others. Features
    are averaged over their places, there they are taken whole.
    """

    name = "lid"

    def __init__(self, classifier: nn.Module, k: int = 20, reference: int = 100, layers: Sequence[str] = ()) -> None:
        super().__init__()
        if not 2 <= k <= reference:
            raise InputError(f"expected k from 2 to the {reference} images of the reference, got {k!r}")
        self.layers = tuple(layers) or layers_of(classifier)
        self.settings: dict[str, object] = {"k": k, "reference": reference, "layers": list(self.layers)}
        self.k = k
        self.size = reference
        self.watched = Watched(classifier)
        for at in range(len(self.layers)):
            self.register_buffer(f"reference{at}", torch.empty(0))
        self.weigh = Logistic()

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        input_checks.check(self, x)
        demand(self, self.weigh.weight)
        assert self.watched.classifier is not None
        out: Tensor = self.weigh(self._dimensions(features(self.watched.classifier, self.layers, x)[1]))
        return out

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Keeps the first images as the reference, weighs the layers on the others and one attack, returns itself."""
        examples(self, x, y, attacked, least=self.size + 2)
        assert self.watched.classifier is not None
        clean = gathered(self.watched.classifier, self.layers, x)[1]
        for at, found in enumerate(clean):
            setattr(self, f"reference{at}", found[: self.size].clone())
        x_adv = None
        if attacked is not None:
            x_adv = self._dimensions(gathered(self.watched.classifier, self.layers, attacked)[1])
        self.weigh.fit(self._dimensions([found[self.size :] for found in clean]), x_adv)
        return self

    def _dimensions(self, found: list[Tensor]) -> Tensor:
        layers = enumerate(found)
        return torch.stack([dimension(part, self.get_buffer(f"reference{at}"), self.k) for at, part in layers], 1)


def dimension(points: Tensor, reference: Tensor, k: int) -> Tensor:
    """Returns (N,): the maximum-likelihood local intrinsic dimensionality of (N, D) among the k nearest of (R, D)."""
    nearest = torch.cdist(points, reference).topk(k, dim=1, largest=False).values.clamp_min(1e-12)
    return -1 / (nearest / nearest[:, -1:]).log().mean(1).clamp_max(-1e-6)
