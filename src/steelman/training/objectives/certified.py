"""Learning from what a network could answer at worst: training on its own bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman import bounds
from steelman.attacks.settings import share
from steelman.errors import InputError, unknown
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.checkpoint import Examples
from steelman.training.objectives.classify import Classify, accuracy

METHODS = ("ibp", "crown-ibp")


@dataclass(frozen=True, kw_only=True)
class CertifiedLoss:
    """Cross-entropy of clean images, and of the worst logits that bounds leave possible inside a threat.

    Judged by the share of images that are certified, then by accuracy. The network is bounded in evaluation mode.

    threat: inside which images are to be certified.
    reach: eps that is trained on, as a multiple of the threat's.
    clean: what the clean images count in the end, from 1 at the start; the bounds count the rest.
    rise: the share of the training over which eps and the bounds' weight rise evenly, after the first twentieth.
    method: of `bounds`; "crown-ibp" gives way to "ibp" while eps rises, as in its paper.
    classify: the augmentation.
    Raises InputError for a number out of its range.
    Source: Gowal et al. 2018 (On the effectiveness of interval bound propagation), eq. 12 and section 4, whose clean
    weight ends at .5 and whose eps for MNIST at .3 is .4; Zhang et al. 2020 (CROWN-IBP), eq. 9.
    """

    threat: Threat
    reach: float = 1.0
    clean: float = 0.5
    rise: float = 0.5
    method: str = "ibp"
    classify: Classify = field(default_factory=Classify)

    def __post_init__(self) -> None:
        share(self.clean, "clean")
        share(self.rise, "rise")
        if not 0 < self.reach <= 4:
            raise InputError(f"expected reach as a multiple of eps in (0, 4], got {self.reach!r}")
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y), at the eps and the weights of this moment."""
        x, y = batch
        x = self.classify.augmented(x)
        risen = min(1.0, max(0.0, done - _START) / self.rise) if self.rise else 1.0
        reading = self.classify.reading(model, x, y)
        weight = (1 - self.clean) * risen
        if not weight:
            return reading
        threat = self.threat.at(self.threat.eps * self.reach * risen)
        worst = worst_logits(model, x, y, threat)
        if self.method == "crown-ibp" and risen < 1:
            worst = risen * worst + (1 - risen) * worst_logits(model, x, y, threat, "crown-ibp")
        return (1 - weight) * reading + weight * F.cross_entropy(worst, y)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the share of images that are certified, and the accuracy on clean ones."""
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        with torch.autocast(device.type, enabled=False):
            proved = bounds.certify(model, x, y, self.threat, methods=("ibp",), batch=128).share
        return {f"certified {float(self.threat.eps):g}": proved, "clean": accuracy(model, validation)}


def worst_logits(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, method: str = "ibp") -> Tensor:
    """Returns (N, K): what bounds leave possible inside a threat, as logits less the true one's, to be learnt from.

    The network is bounded in evaluation mode and single precision, and left in the mode that it was in.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.autocast(x.device.type, enabled=False):
            return bounds.differences(model, x, y, threat, method)
    finally:
        for module, training in modes:
            module.training = training


def ibp(
    threat: Threat | Ball,
    *,
    reach: float = 1.0,
    clean: float = 0.5,
    rise: float = 0.5,
    classify: Classify | None = None,
) -> CertifiedLoss:
    """Returns training on interval bounds; judged by the images that they certify. Settings as `CertifiedLoss` has
    them.

    Source: Gowal et al. 2018 (On the effectiveness of interval bound propagation), section 3.
    """
    return CertifiedLoss(threat=Threat.of(threat), reach=reach, clean=clean, rise=rise, classify=classify or Classify())


def crown_ibp(
    threat: Threat | Ball,
    *,
    reach: float = 1.0,
    clean: float = 0.0,
    rise: float = 0.5,
    classify: Classify | None = None,
) -> CertifiedLoss:
    """Returns training on CROWN-IBP bounds that give way to interval bounds. Settings as `CertifiedLoss` has them.

    Source: Zhang et al. 2020 (Towards stable and efficient training of verifiably robust networks), section 3.
    """
    return CertifiedLoss(
        threat=Threat.of(threat),
        reach=reach,
        clean=clean,
        rise=rise,
        method="crown-ibp",
        classify=classify or Classify(),
    )


_START = 0.05
"""The share of the training that comes before any bound: a network learns to read first."""
