"""What a purifier before a frozen classifier is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.attacks import AttackLike
from steelman.training.checkpoint import Examples
from steelman.weights import digest


@dataclass(frozen=True, kw_only=True)
class Purify:
    """Give the clean image back from what attacks made of it, so that a frozen classifier classifies it correctly.

    Examples are (image, label). The attacks see the classifier alone, as an attacker does who knows no defence, and
    each image is attacked at an eps of its own. Judged by the mean accuracy of the pipeline over `val`.

    classifier: frozen, in evaluation mode.
    attacks: pairs of an attack and the largest eps that is drawn for it, uniformly from 0; each takes an equal share of
    what is not left clean.
    clean: the share of every batch that is left as it is.
    fidelity: weight of the mean squared error beside the cross-entropy of the classifier's reading.
    val: the attacks that validate it, as they are; clean images count as one more.
    """

    classifier: nn.Module
    attacks: tuple[tuple[AttackLike, float], ...]
    val: tuple[AttackLike, ...]
    clean: float = 0.25
    fidelity: float = 4.0
    _x_adv: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        settings = f"attacks={self.attacks!r}, val={self.val!r}, clean={self.clean}, fidelity={self.fidelity}"
        return f"Purify({settings}, classifier={digest(self.classifier)[:16]})"

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y)."""
        x, y = batch
        purified = model(self.attacked(x, y)).float()
        reading = F.cross_entropy(self.classifier(purified).float(), y)
        return reading + self.fidelity * F.mse_loss(purified, x)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the mean accuracy over clean images and the validation attacks, then each of them."""
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        pipeline = nn.Sequential(model, self.classifier)
        scores = {name: _right(pipeline, images, y) for name, images in self.judging(x, y).items()}
        return {"mean": sum(scores.values()) / len(scores), **scores}

    def judging(self, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        """Returns the images that judge: x as "clean", then what each validation attack makes of it, made once."""
        for attack in self.val:
            name = f"{attack.name} {attack.threat.eps:g}"
            if name not in self._x_adv:  # they depend on the classifier alone
                self._x_adv[name] = attack(self.classifier, x, y).x
        return {"clean": x, **self._x_adv}

    def attacked(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns the batch with its parts attacked, the first part clean; all of it if there is no attack."""
        size = round(len(x) * (1 - self.clean) / max(1, len(self.attacks)))
        if not size or not self.attacks:
            return x
        parts = [x[: len(x) - size * len(self.attacks)]]
        seed = int(torch.randint(2**31, ()))
        for place, (attack, most) in enumerate(self.attacks):
            part = slice(len(x) - size * (len(self.attacks) - place), len(x) - size * (len(self.attacks) - place - 1))
            eps = most * torch.rand(size, device=x.device)
            parts.append(attack.at(eps)(self.classifier, x[part], y[part], seed=seed, slots=size).x)
        return torch.cat(parts)


def _right(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500), strict=True)) / len(
            y
        )
