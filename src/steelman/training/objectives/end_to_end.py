"""What a purifier before a classifier is trained on if it is to hold when the attacker knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.attacks import AttackLike
from steelman.attacks.settings import not_negative, share
from steelman.errors import InputError
from steelman.pipeline import Pipeline
from steelman.training.checkpoint import Examples
from steelman.training.objectives.certified import worst_logits
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.opponent import answered, ramped, withstood, x_adv
from steelman.training.objectives.trades import divergence
from steelman.weights import digest


@runtime_checkable
class Reading(Protocol):
    """A purifier with a network in it that reads the class by itself, and tells what it read."""

    judge: nn.Module

    def read(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """Returns what it makes of images and the logits of its own reading."""
        ...


@dataclass(frozen=True)
class Weights:
    """What each part of the loss counts, beside 1 for the classifier's reading of attacked images.

    clean, oblivious: the reading of clean images, and of those attacked without knowing of the purifier.
    own: the purifier's own reading of all these, where it has one.
    fidelity: the mean squared error of what is drawn to the clean image.
    bounds: its own reading again, of every other image, at the worst that interval bounds leave possible inside the
    attack's threat; for a judge that can be bounded.
    consistency: the divergence of the answers to attacked images from those to clean ones, as in TRADES.
    pairing: the mean squared difference of their logits, as in adversarial logit pairing.
    Raises InputError for a negative one.
    """

    clean: float = 0.5
    oblivious: float = 0.5
    own: float = 1.0
    fidelity: float = 4.0
    bounds: float = 0.0
    consistency: float = 0.0
    pairing: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            not_negative(value, name)


class Made(NamedTuple):
    """A batch and what attacks made of it.

    x, x_adv: (N, *S), augmented, before the attack through both and after it.  y: (N,).
    oblivious: (M, *S), some of x after an attack on the bare classifier.  of: (M,), their places in x.
    """

    x: Tensor
    x_adv: Tensor
    y: Tensor
    oblivious: Tensor
    of: Tensor


@dataclass(frozen=True, kw_only=True)
class EndToEndPurifierLoss:
    """Purify what an attack makes that goes through purifier and classifier together; judged by what withstands one.

    Attacked in evaluation mode, as it is after every step. For the first part of the training an attack may go through
    the purifier's own reading alone, which costs a fraction and teaches it to see. The loss goes through both always.

    classifier: frozen, in evaluation mode; who does not know of the purifier attacks it alone.
    together: what is trained is the pipeline, whose classifier, a copy of that one, learns too.
    attack: through the pipeline; with the goal Last().  val: the attack that validates.
    ramp: the share of the training over which eps rises to the attack's.
    early: the share of the training, from its start, in which only the purifier's own reading is attacked; 0 for a
    purifier that has none.  first: what attacks it there; `attack` unless told.
    oblivious: pairs of an attack on the bare classifier and the largest eps that is drawn for it, uniformly from 0.
    portion: the share of each batch that is attacked so too, beside.
    weights: what the parts of the loss count.  classify: the augmentation before the attack, and the smoothing.
    Raises InputError for a share out of [0, 1].
    """

    classifier: nn.Module
    attack: AttackLike
    val: AttackLike
    ramp: float = 0.3
    early: float = 0.0
    first: AttackLike | None = None
    oblivious: tuple[tuple[AttackLike, float], ...] = ()
    portion: float = 0.25
    weights: Weights = field(default_factory=Weights)
    classify: Classify = field(default_factory=Classify)
    together: bool = False

    def __post_init__(self) -> None:
        for name in ("ramp", "early", "portion"):
            share(getattr(self, name), name)

    def __repr__(self) -> str:
        shown = ["attack", "val", "ramp", "early", "oblivious", "portion", "weights", "classify", "together"]
        shown += ["first"] if self.first else []
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"EndToEndPurifierLoss({settings}, classifier={digest(self.classifier)[:16]})"

    def pipeline(self, model: nn.Module) -> Pipeline:
        """Returns what is attacked: the purifier that is trained before the classifier, or the pipeline itself."""
        if not self.together:
            return Pipeline(self.classifier, purifier=model)
        if not isinstance(model, Pipeline) or model.purifier is None:
            raise InputError(
                f"expected a Pipeline of purifier and classifier to train together, got {type(model).__name__}"
            )
        return model

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y), at the eps of this moment."""
        return self.reading(model, self.attacked(model, batch, done), done)

    def attacked(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> tuple[Tensor, ...]:
        """Returns the parts of `Made`: what attacks make of (x, y), augmented, at the eps of this moment."""
        x, y = batch
        x = self.classify.augmented(x)
        pipeline = self.pipeline(model)
        early = done < self.early
        attack = self.first if early and self.first else self.attack
        bad = x_adv(_judge(_purifier(pipeline)) if early else pipeline, ramped(attack, self.ramp, done), x, y)
        some = round(self.portion * len(x)) if self.oblivious else 0
        return Made(x, bad, y, self._oblivious(x[:some], y[:some]), torch.arange(some, device=x.device))

    def _oblivious(self, x: Tensor, y: Tensor) -> Tensor:
        """The images attacked on the bare classifier, an even share by each attack, at an eps of each image's own."""
        parts = []
        seed = int(torch.randint(2**31, ()))
        for place, (attack, most) in enumerate(self.oblivious):
            part = slice(len(x) * place // len(self.oblivious), len(x) * (place + 1) // len(self.oblivious))
            size = len(x[part])
            if size:
                eps = most * torch.rand(size, device=x.device)
                parts.append(attack.at(eps)(self.classifier, x[part], y[part], seed=seed, slots=size).x)
        return torch.cat(parts) if parts else x[:0]

    def reading(self, model: nn.Module, made: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of what `attacked` returned."""
        x, bad, y, oblivious, of = made
        pipeline = self.pipeline(model)
        purifier, classifier = _purifier(pipeline), pipeline.classifier
        inputs = torch.cat([bad, x, oblivious])
        drawn, judged = purifier.read(inputs) if isinstance(purifier, Reading) else (purifier(inputs), None)
        drawn = drawn.float()
        weights, sizes = self.weights, (len(bad), len(x), len(oblivious))
        counts = (1.0, weights.clean, weights.oblivious)
        labels = torch.cat([y, y, y[of]])
        total = weights.fidelity * F.mse_loss(drawn, torch.cat([x, x, x[of]]))
        if judged is not None and weights.own:
            total = total + weights.own * self._read(judged.float(), labels, sizes, counts)
        if weights.bounds and done > 0:
            threat = ramped(self.attack, self.ramp, done).threat
            some = slice(0, len(x), 2)
            worst = worst_logits(_judge(purifier), x[some], y[some], threat)
            total = total + weights.bounds * F.cross_entropy(worst, y[some])
        logits = answered(classifier, drawn)
        total = total + self._read(logits, labels, sizes, counts)
        attacked, clean, _ = logits.split(sizes)
        if weights.consistency:
            total = total + weights.consistency * divergence(clean, attacked).mean()
        if weights.pairing:
            total = total + weights.pairing * F.mse_loss(clean, attacked)
        return total

    def _read(self, logits: Tensor, labels: Tensor, sizes: tuple[int, ...], counts: tuple[float, ...]) -> Tensor:
        parts = zip(logits.split(sizes), labels.split(sizes), counts, strict=True)
        each = [
            count * F.cross_entropy(part, label, label_smoothing=self.classify.smoothing)
            for part, label, count in parts
            if len(part) and count
        ]
        return torch.stack(each).sum()

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy of the pipeline under the validation attack, and on clean images."""
        return withstood(self.pipeline(model).eval(), self.val, validation)


def _purifier(pipeline: Pipeline) -> nn.Module:
    assert pipeline.purifier is not None
    return pipeline.purifier


def _judge(purifier: nn.Module) -> nn.Module:
    if not isinstance(purifier, Reading):
        raise InputError(
            f"expected a purifier that reads by itself, got {type(purifier).__name__}: say early=0, and attack both"
        )
    return purifier.judge
