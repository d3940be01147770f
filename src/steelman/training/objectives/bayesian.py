"""What a Bayesian auto-encoder before a frozen classifier is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences.bayesian import BayesianAutoencoder
from steelman.errors import InputError
from steelman.training.checkpoint import Examples
from steelman.training.objectives.purify import Purify


@dataclass(frozen=True, kw_only=True)
class PurifyMembers:
    """`Purify` for every member of an ensemble, and the likelihood of its standard deviations.

    The means learn as a purifier does; the standard deviations from the log-likelihood of the clean image, the means
    held fixed, since a likelihood of both lets the scale excuse the mean. Each image is read by the classifier through
    one member drawn at random, which is in the mean the loss of all at a fraction of the cost. The members differ by
    their first weights, by the noise on their codes and by that draw; they see the same batches.
    Judged by `Purify`'s figures of the mean reconstruction, then by how well the uncertainty tells clean images from
    each validation attack (AUC).

    purify: attacks, classifier and fidelity.  likelihood: weight of the negative log-likelihood of a pixel.
    Raises InputError for a model without members.
    Source: the likelihood, Lakshminarayanan et al. 2017 (Deep ensembles), eq. 1; why not of the mean, Seitzer et al.
    2022 (On the pitfalls of heteroscedastic uncertainty estimation), section 3.
    """

    purify: Purify
    likelihood: float = 0.1

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y)."""
        x, y = batch
        means, deviations = (part.float() for part in _ensemble(model).answers(self.purify.attacked(x, y)))
        member = torch.randint(means.shape[1], (len(x),), device=x.device)
        read = F.cross_entropy(self.purify.classifier(means[torch.arange(len(x)), member]).float(), y)
        error = (means - x[:, None]).square()
        unlikely = (0.5 * error.detach() / deviations.square() + deviations.log()).mean()
        return read + self.purify.fidelity * error.mean() + self.likelihood * unlikely

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the mean accuracy over clean images and the validation attacks, each of them, and the AUC of each."""
        ensemble = _ensemble(model)
        scores = dict(self.purify.validate(model, validation))
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        with torch.no_grad():
            unsure = {
                name: torch.cat([ensemble.uncertainty(part).float() for part in images.split(250)])
                for name, images in self.purify.judging(x, y).items()
            }
        clean = unsure.pop("clean")
        return scores | {f"AUC {name}": separation(clean, found) for name, found in unsure.items()}


def separation(low: Tensor, high: Tensor) -> float:
    """Returns the AUC: how often a value of `high`, (M,), lies above one of `low`, (N,), a tie for half."""
    below, tied = low[:, None] < high[None], low[:, None] == high[None]
    return float((below.double() + 0.5 * tied.double()).mean())


def _ensemble(model: nn.Module) -> BayesianAutoencoder:
    if not isinstance(model, BayesianAutoencoder):
        raise InputError(
            f"expected a BayesianAutoencoder, whose members are trained, got {type(model).__name__}: "
            "training.purifier trains any other purifier"
        )
    return model
