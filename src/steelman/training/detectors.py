"""Whole fits of detectors: what `steelman train detector` and `steelman detect` run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman import norms
from steelman.attacks import AttackLike, Finds
from steelman.attacks import named as attack_named
from steelman.data import Data, Images
from steelman.defences import detectors
from steelman.defences.detectors import roc
from steelman.defences.rejecting import scored
from steelman.errors import InputError
from steelman.progress import OnProgress
from steelman.training.checkpoint import Epoch, Examples
from steelman.training.fit import fit
from steelman.training.recipe import Recipe
from steelman.training.recipes import DETECTOR
from steelman.training.seeding import seeded
from steelman.training.trained import Trained

EPS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
"""Radii of the one attack that detectors are fitted on."""

MEMBERS = ("feature-squeezing", "disagreement", "mahalanobis", "kernel-density")
"""What "combined" is made of unless told: what reads features, and what compares with a squeezed or purified image."""


@dataclass(frozen=True, kw_only=True)
class Distinguish:
    """Tell attacked images from clean ones, for (image, mark) examples, mark 1 for attacked; judged by the AUC."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean binary cross-entropy of (x, mark)."""
        x, mark = batch
        return F.binary_cross_entropy_with_logits(model(x).float(), mark.float())

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the area under the ROC."""
        device = next(model.parameters()).device
        x, mark = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        with torch.no_grad():
            found = torch.cat([model(part).float() for part in x.split(500)])
        return {"auc": roc.auc(found[mark == 0], found[mark == 1])}


@dataclass(frozen=True)
class Marked:
    """Images with a mark, 1 for attacked: x (N, C, H, W), mark (N,)."""

    x: Tensor
    mark: Tensor

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.x)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the chosen images and their marks."""
        return self.x[indices], self.mark[indices]


@dataclass(frozen=True)
class Material:
    """What detectors are fitted on and validated with: clean images with labels, and those that an attack broke."""

    x: Tensor
    y: Tensor
    attacked: Tensor

    def marked(self) -> Marked:
        """Returns as many attacked as clean images, marked."""
        order = torch.randperm(len(self.attacked), generator=torch.Generator().manual_seed(0))
        x_adv = self.attacked[order[: len(self.x)].to(self.attacked.device)]
        marks = torch.cat([torch.zeros(len(self.x)), torch.ones(len(x_adv))])
        return Marked(torch.cat([self.x, x_adv]).cpu(), marks)


@dataclass(frozen=True)
class DetectorTrainingSet:
    """What all detectors of one table are fitted on: `members` most of it, `mixing` for combinations, `val` to judge.

    fitted_on: the one attack and how many images served, for the record.
    """

    members: Material
    mixing: Material
    val: Material
    fitted_on: Mapping[str, Any]


def bench(
    classifier: nn.Module,
    data: Data,
    *,
    attack: str = "fgsm",
    eps: Sequence[float] = EPS,
    images: int = 3000,
    seed: int = 0,
    device: str = "cpu",
) -> DetectorTrainingSet:
    """Returns what detectors are fitted on, all of it from training images.

    attack, eps: the one attack, at every radius.  images: clean ones at most; a third of them is kept for combinations.
    Raises InputError for no training images, and as `prepared` does.
    """
    classifier = classifier.to(device).eval().requires_grad_(False)
    kept, val = data.split(seed)
    kept = kept.sample(min(images, len(kept)), seed)
    parts = (*kept.split(1 / 3, seed), val.sample(min(500, len(val)), seed))
    made = attacks_of(attack, eps)
    members, mixing, judged = (prepared(classifier, part, made, device) for part in parts)
    counts = {"clean": len(members.x) + len(mixing.x), "attacked": len(members.attacked) + len(mixing.attacked)}
    return DetectorTrainingSet(members, mixing, judged, {"attack": attack, "eps": list(eps), **counts})


def detector(
    name: str | Callable[..., nn.Module],
    classifier: nn.Module,
    data: Data,
    material: DetectorTrainingSet,
    *,
    purifier: nn.Module | None = None,
    members: Sequence[str] = MEMBERS,
    settings: Mapping[str, Any] | None = None,
    recipe: Recipe = DETECTOR,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns a detector fitted on clean images and on one attack.

    name: in detectors.catalogue, or what could stand there.  classifier: the one that the material was made with.
    purifier: for detectors that compare with it.  members: of "combined", by name, fitted here too.
    settings: the detector's own.  recipe: of "binary", the only one with epochs.
    """
    purifier = None if purifier is None else purifier.to(device).eval().requires_grad_(False)
    own: dict[str, Any] = dict(settings or {})
    fitting = material.members
    if name == detectors.Combined.name:
        made = [detectors.build(member, classifier, purifier).to(device) for member in members]
        own["members"] = [_fitted(member, fitting) for member in made]
        fitting = material.mixing
    with seeded(recipe.seed):
        model = detectors.build(name, classifier, purifier, **own).to(device)
    history: tuple[Epoch, ...] = ()
    if isinstance(model, detectors.Binary):
        how: dict[str, Any] = {"checkpoint": checkpoint, "device": device, "progress": progress}
        history = fit(model, Distinguish(), fitting.marked(), material.val.marked(), recipe, **how)
        model.trained.fill_(1)
    else:
        _fitted(model, fitting)
    area = roc.auc(scored(model, material.val.x), scored(model, material.val.attacked))
    record = detectors.record(model, data.test.shape) | {
        "data": data.name,
        "fitted_on": dict(material.fitted_on),
        "recipe": asdict(recipe) if history else {"seed": recipe.seed},
        "validation": {"auc": area},
        "torch": str(torch.__version__),
    }
    return Trained(model.eval(), history, record)


def attacks_of(name: str, eps: Sequence[float]) -> list[AttackLike]:
    """Returns an attack at every radius, in the first norm that it has; once, if it looks for the smallest change.

    Raises InputError for an unknown attack, one outside every ball, and for no radius.
    """
    entry = attack_named(name)
    if entry.finds is Finds.OUTSIDE or not eps:
        raise InputError(f"expected an attack within a ball and its eps to fit a detector on, got {name} and {eps}")
    norm: Callable[[float], norms.Ball] = getattr(norms, entry.norms[0])
    return [entry(norm(radius)) for radius in (eps if entry.finds is Finds.WITHIN else (math.inf,))]


def prepared(classifier: nn.Module, images: Images, attacks: Sequence[AttackLike], device: str) -> Material:
    """Returns images that the classifier classifies correctly, and what each attack makes of those that it breaks.

    Raises InputError if it classifies none correctly, or no attack breaks any.
    """
    x, y = images.x.to(device), images.y.to(device)
    with torch.no_grad():
        right = torch.cat([classifier(a).argmax(1) for a in x.split(500)]) == y
    if int(right.sum()) < 2:
        raise InputError(f"expected a classifier that reads {images.name}, got one that reads {int(right.sum())} right")
    x, y = x[right], y[right]
    found = [attack(classifier, x, y) for attack in attacks]
    x_adv = torch.cat([result.x[result.broken] for result in found])
    if not len(x_adv):
        raise InputError("expected an attack that breaks some images to fit a detector on, got none: raise its eps")
    return Material(x, y, x_adv)


def _fitted(model: nn.Module, material: Material) -> nn.Module:
    fitted: nn.Module = model.fit(material.x, material.y, material.attacked)  # type: ignore[operator]
    return fitted
