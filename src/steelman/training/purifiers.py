"""Whole trainings of purifiers: what `steelman train purifier` runs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman import bounds, weights
from steelman.attacks import Attack, Last, Worst, at_input, fgsm, pgd
from steelman.attacks.engine.guides import Guide
from steelman.attacks.settings import count
from steelman.data import Data, Images
from steelman.defences import CertifiedAutoencoder
from steelman.defences.robust import drawn
from steelman.losses import Loss, cross_entropy
from steelman.models import folded
from steelman.norms import Ball, Linf
from steelman.progress import OnProgress
from steelman.threat import Threat
from steelman.training.objectives import CertifiedLoss, Classify, EndToEndPurifierLoss, Purify, Weights
from steelman.training.recipe import Recipe
from steelman.training.recipes import CERTIFIED_AUTOENCODER, MIRRORED, ROBUST_AUTOENCODER, UNET
from steelman.training.trained import Trained, fitted


def oblivious(steps: int = 5) -> tuple[tuple[Attack, float], ...]:
    """Returns what an attacker does who knows of no purifier, FGSM and PGD of so many steps, with the largest eps."""
    return (
        (fgsm(Linf(0.0)).with_goal(Last()), 1.2),
        (pgd(Linf(0.0), steps=steps, start=at_input).with_goal(Last()), 0.35),
    )


def of_every_eps(classifier: nn.Module, steps: int = 10) -> Purify:
    """Returns the objective of a purifier that is to hold against FGSM and PGD of every eps at once."""
    return Purify(
        classifier=classifier,
        attacks=oblivious(steps),
        val=(
            fgsm(Linf(0.1)).with_goal(Worst()),
            fgsm(Linf(0.6)).with_goal(Worst()),
            pgd(Linf(0.05), size=0.01, start=at_input).with_goal(Worst()),
            pgd(Linf(0.15), size=0.01, start=at_input).with_goal(Worst()),
            pgd(Linf(0.3), size=0.01, start=at_input).with_goal(Worst()),
        ),
    )


def purifier(
    model: nn.Module,
    classifier: nn.Module,
    data: Data,
    *,
    name: str,
    recipe: Recipe = UNET,
    steps: int = 10,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns a purifier that holds before one classifier against FGSM and PGD of every eps at once.

    classifier: attacked and read, never trained.  steps: of the PGD that it trains on; it is judged on 40 of .01.
    """
    classifier = classifier.to(device).eval().requires_grad_(False)
    objective = of_every_eps(classifier, steps)
    metadata = {"defence": name, "classifier": weights.digest(classifier)}
    return fitted(
        model, objective, data, recipe, metadata, judged=1000, checkpoint=checkpoint, device=device, progress=progress
    )


def through(
    classifier: nn.Module,
    threat: Threat | Ball,
    *,
    steps: int = 7,
    reach: float = 1.05,
    early: float = 0.6,
    early_steps: int | None = None,
    loss: Loss | Guide = cross_entropy,
    augment: Classify | None = None,
    **changes: object,
) -> EndToEndPurifierLoss:
    """Returns the objective of a purifier that is to hold before a classifier when the attacker knows both.

    threat: what is to be withstood.  steps: of the PGD that it trains on, each of 2.5 eps / steps; a single one of
    1.25 eps, as Wong et al. 2020 (Fast is better than free) have it.  early_steps: of that of the early part, as many
    unless told.  loss: what it ascends.  reach: its eps, as a multiple of the threat's.
    early, changes: as `EndToEndPurifierLoss` has them, and its `Weights`.
    """
    counts = {name: changes.pop(name) for name in Weights.__dataclass_fields__ if name in changes}
    known = Threat.of(threat)
    eps = float(known.eps)

    def ascent(steps: int) -> Attack:
        size = (2.5 if steps > 1 else 1.25) * reach * eps / steps
        return pgd(known.at(reach * eps), steps=steps, size=size, loss=loss).with_goal(Last())

    val = pgd(known, steps=20, size=eps / 8)
    return EndToEndPurifierLoss(
        classifier=classifier,
        attack=ascent(count(steps)),
        val=val,
        early=early,
        first=None if early_steps is None else ascent(count(early_steps, "early_steps")),
        weights=Weights(**counts),  # type: ignore[arg-type]
        **{"oblivious": oblivious(), "classify": augment or Classify(), **changes},  # type: ignore[arg-type]
    )


def robust_autoencoder(
    model: nn.Module,
    classifier: nn.Module,
    data: Data,
    *,
    name: str,
    threat: Threat | Ball,
    recipe: Recipe = ROBUST_AUTOENCODER,
    steps: int = 7,
    shift: int = 1,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
    **settings: object,
) -> Trained:
    """Returns a purifier trained through itself and a frozen classifier, to hold when the attacker knows both.

    classifier: attacked and read, never trained.  threat, steps, settings: as `through` has them.
    shift: of the augmentation, in pixels.
    """
    read = weights.digest(classifier)
    classifier = folded(classifier).to(device).requires_grad_(False)
    objective = through(classifier, threat, steps=steps, **{"augment": augmentation(data, shift), **settings})  # type: ignore[arg-type]
    metadata = {"defence": name, "classifier": read}
    return fitted(
        model, objective, data, recipe, metadata, judged=500, checkpoint=checkpoint, device=device, progress=progress
    )


def certified_autoencoder(
    model: CertifiedAutoencoder,
    classifier: nn.Module,
    data: Data,
    *,
    name: str,
    threat: Threat | Ball,
    recipe: Recipe = CERTIFIED_AUTOENCODER,
    reach: float = 1.0,
    clean: float = 0.5,
    shift: int = 0,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns a purifier whose reading is trained on its own bounds, and that draws what the classifier reads best.

    threat: inside which it is to be certified.  reach, clean: as `CertifiedLoss` has them.  shift: of the augmentation,
    in pixels; bounds leave a small network little room for it.
    """
    classifier = classifier.to(device).eval().requires_grad_(False)
    objective = CertifiedLoss(threat=Threat.of(threat), reach=reach, clean=clean, classify=augmentation(data, shift))
    metadata = {"defence": name, "classifier": weights.digest(classifier)}
    kept, _ = data.split(recipe.seed)
    model.learn(kept.x, kept.y, clearly(classifier, kept))
    certify_prototypes(model.to(device), classifier)
    return fitted(
        model,
        objective,
        data,
        recipe,
        metadata,
        judged=2000,
        learner=model.judge,
        checkpoint=checkpoint,
        device=device,
        progress=progress,
    )


def certify_prototypes(
    model: CertifiedAutoencoder, classifier: nn.Module, *, far: float = 0.5, steps: int = 300
) -> None:
    """Moves what a purifier draws to where bounds prove that a classifier reads it, whatever the trace in it.

    far: by how much a pixel changes at most, in units of [0, 1] images.  steps: of Adam on the bounds of the margins.
    Raises InputError for a classifier that cannot be bounded.
    """
    sure, trace = model.sure()
    labels, own = torch.arange(len(sure), device=sure.device), torch.eye(len(sure), device=sure.device).bool()
    low, high = (model.examples - far).clamp(0, 1), (model.examples + far).clamp(0, 1)
    drawing = _Drawing(model, classifier).eval()
    optimiser = torch.optim.Adam(drawing.parameters(), 0.02)
    for _ in range(steps):
        worst = bounds.differences(drawing, sure, labels, Threat(Linf(trace)), "ibp").masked_fill(own, -torch.inf)
        (grad,) = torch.autograd.grad(worst.amax(1).sum(), drawing.examples)
        drawing.examples.grad = grad
        optimiser.step()
        with torch.no_grad():
            drawing.examples.copy_(drawing.examples.clamp(low, high))
    model.examples.copy_(drawing.examples.detach())


class _Drawing(nn.Module):
    """From what is told of each class, (N, K), to a classifier's logits, with drawings that learn."""

    def __init__(self, purifier: CertifiedAutoencoder, classifier: nn.Module) -> None:
        super().__init__()
        self.examples = nn.Parameter(purifier.examples.clone())
        self._classifier = (classifier,)

    def forward(self, sure: Tensor) -> Tensor:
        (classifier,) = self._classifier
        logits: Tensor = classifier(drawn(sure, self.examples))
        return logits


def clearly(classifier: nn.Module, images: Images) -> Tensor:
    """Returns (N,): by how much a classifier's logit of each image's true class leads every other."""
    device = next(classifier.parameters()).device
    leads = []
    with torch.no_grad():
        for x, y in zip(images.x.split(500), images.y.split(500), strict=True):
            logits = classifier(x.to(device)).cpu()
            own = F.one_hot(y, logits.shape[1]).bool()
            leads.append(logits[own] - logits.masked_fill(own, -torch.inf).amax(1))
    return torch.cat(leads)


def augmentation(data: Data, shift: int = 1) -> Classify:
    """Returns shifts of so many pixels, and mirrored images where that is known to change no meaning."""
    return Classify(shift=shift, flip=data.id in MIRRORED)
