"""What is minimised: a classifier on labels, on images or on what an attack makes of them, and a purifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.attacks import Attack
from steelman.errors import InputError
from steelman.training.checkpoint import Examples
from steelman.weights import digest


@dataclass(frozen=True, kw_only=True)
class Classify:
    """Cross-entropy on labels, for (image, label) examples; judged by accuracy.

    smoothing: label smoothing in [0, 1).  shift: largest shift in pixels, up, down and sideways.
    flip: mirror half the images.  erase: side of a square, in pixels, set to a grey of its own in every image.
    """

    smoothing: float = 0.0
    shift: int = 0
    flip: bool = False
    erase: int = 0

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y)."""
        x, y = batch
        return self.reading(model, self.augmented(x), y)

    def reading(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Returns the mean smoothed cross-entropy of images as they are."""
        return F.cross_entropy(model(x).float(), y, label_smoothing=self.smoothing)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy on clean images."""
        return {"accuracy": accuracy(model, validation)}

    def augmented(self, x: Tensor) -> Tensor:
        """Returns the images shifted, mirrored and erased, each in its own way."""
        if self.shift:
            x = _shifted(x, self.shift)
        if self.flip:
            x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(-1), x)
        if self.erase:
            x = _erased(x, self.erase)
        return x


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Cross-entropy on what an attack makes of each batch; judged by accuracy under another, then on clean images.

    The model is attacked as it is after every step, in evaluation mode: without dropout, and with the batch statistics
    that it will be judged with, which the attack does not move. It learns in training mode. The attack runs in bf16 if
    the fit does.

    attack: run on every batch; with the goal Last(), since the end of the ascent is wanted and no early stop.
    held: the attack that judges.
    ramp: the share of the training over which eps rises evenly from 0 to the attack's; 0 for all of it at once, under
    which a small network on MNIST at .3 may go on giving every image the same answer.
    classify: the augmentation before the attack, and the smoothing after it.
    Source: Madry et al. 2018, eq. 2.1; evaluation mode: Pang et al. 2021 (Bag of Tricks), section 3. The ramp is ours.
    """

    attack: Attack
    held: Attack
    ramp: float = 0.0
    classify: Classify = field(default_factory=Classify)

    def __post_init__(self) -> None:
        if not 0 <= self.ramp <= 1:
            raise InputError(f"expected ramp as a share in [0, 1], got {self.ramp!r}")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y) under attack, at the eps of this moment of the training."""
        x, y = batch
        x = self.classify.augmented(x)
        seed = int(torch.randint(2**31, ()))
        attack = self.attack.at(self.attack.threat.eps * done / self.ramp) if done < self.ramp else self.attack
        hurt = attack(model, x, y, seed=seed, slots=len(x), precision=_precision(x)).x
        return self.classify.reading(model, hurt, y)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy under the held attack, and on clean images."""
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        found = self.held(model, x, y, precision=_precision(x))
        return {f"{self.held.name} {self.held.threat.eps:g}": found.accuracy, "clean": accuracy(model, validation)}


def _precision(x: Tensor) -> str:
    """The precision that the fit runs in; an attack's own would otherwise take its place."""
    return "bf16" if torch.is_autocast_enabled(x.device.type) else "fp32"


def accuracy(model: nn.Module, examples: Examples, batch_size: int = 500) -> float:
    """Returns the share of (image, label) examples that the model gets right, in the mode that it is in."""
    device = next(model.parameters()).device
    right = 0
    with torch.no_grad():
        for start in range(0, len(examples), batch_size):
            x, y = examples.batch(torch.arange(start, min(start + batch_size, len(examples))))
            right += int((model(x.to(device)).argmax(1).cpu() == y).sum())
    return right / len(examples)


def _shifted(x: Tensor, most: int) -> Tensor:
    """Each image moved by its own whole number of pixels, what comes in black."""
    n, c, h, w = x.shape
    padded = F.pad(x, (most, most, most, most))
    rows = torch.randint(0, 2 * most + 1, (n, 1), device=x.device) + torch.arange(h, device=x.device)
    columns = torch.randint(0, 2 * most + 1, (n, 1), device=x.device) + torch.arange(w, device=x.device)
    picked = padded.gather(2, rows[:, None, :, None].expand(n, c, h, padded.shape[3]))
    return picked.gather(3, columns[:, None, None, :].expand(n, c, h, w))


def _erased(x: Tensor, side: int) -> Tensor:
    n, _, h, w = x.shape
    top = torch.randint(0, h - side + 1, (n, 1, 1, 1), device=x.device)
    left = torch.randint(0, w - side + 1, (n, 1, 1, 1), device=x.device)
    rows = torch.arange(h, device=x.device)[None, None, :, None]
    columns = torch.arange(w, device=x.device)[None, None, None, :]
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return torch.where(inside, torch.rand(n, 1, 1, 1, device=x.device), x)


@dataclass(frozen=True, kw_only=True)
class Purify:
    """Give the clean image back from what attacks made of it, so that a frozen classifier reads it right.

    Examples are (image, label). The attacks see the classifier alone, as an attacker does who knows no defence, and
    each image is attacked at an eps of its own. Judged by the mean accuracy of the pipeline over `held`.

    classifier: frozen, in evaluation mode.
    attacks: pairs of an attack and the largest eps that is drawn for it, uniformly from 0; each takes an equal share of
    what is not left clean.
    clean: the share of every batch that is left as it is.
    fidelity: weight of the mean squared error beside the cross-entropy of the classifier's reading.
    held: the attacks that judge it, as they are; clean images count as one more.
    """

    classifier: nn.Module
    attacks: tuple[tuple[Attack, float], ...]
    held: tuple[Attack, ...]
    clean: float = 0.25
    fidelity: float = 4.0
    _hurt: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        settings = f"attacks={self.attacks!r}, held={self.held!r}, clean={self.clean}, fidelity={self.fidelity}"
        return f"Purify({settings}, classifier={digest(self.classifier)[:16]})"

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y)."""
        x, y = batch
        purified = model(self._attacked(x, y)).float()
        reading = F.cross_entropy(self.classifier(purified).float(), y)
        return reading + self.fidelity * F.mse_loss(purified, x)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the mean accuracy over clean images and the held attacks, then each of them."""
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        pipeline = nn.Sequential(model, self.classifier)
        scores = {"clean": _right(pipeline, x, y)}
        for attack in self.held:
            name = f"{attack.name} {attack.threat.eps:g}"
            if name not in self._hurt:  # they depend on the classifier alone, so once is enough
                self._hurt[name] = attack(self.classifier, x, y).x
            scores[name] = _right(pipeline, self._hurt[name], y)
        return {"mean": sum(scores.values()) / len(scores), **scores}

    def _attacked(self, x: Tensor, y: Tensor) -> Tensor:
        """The batch with its parts attacked, the first part clean."""
        size = round(len(x) * (1 - self.clean) / len(self.attacks))
        if not size:
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
