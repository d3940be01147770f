"""What the training of the robust auto-encoder is made of, and one variant for each: without it, or with more of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from steelman.attacks import Problem
from steelman.losses import cross_entropy, margin_targeted
from steelman.training import Classify

BASE = "ours"
"""The variant that all others are one change away from."""


@dataclass(frozen=True)
class Variant:
    """One training of the study.

    key: its file's name.  name: in tables.  says: what is changed, for a reader.
    objective: what is told to `training.through`.  recipe: what is changed in the recipe.
    purifier: of the defences' catalogue.  ramp: whether the ends of the judge's ramp learn.
    """

    key: str
    name: str
    says: str
    objective: Mapping[str, object] = field(default_factory=dict)
    recipe: Mapping[str, object] = field(default_factory=dict)
    purifier: str = "robust-autoencoder"
    ramp: bool = True

    @property
    def together(self) -> bool:
        """Whether a copy of the classifier learns too."""
        return bool(self.objective.get("together"))


@dataclass(frozen=True)
class HalfTargeted:
    """A guide: for half of the images the cross-entropy, for the others how far one wrong class leads the true one.

    Which half, and which class, is drawn for each image and stays while it is attacked.
    """

    def ascend(self, problem: Problem, k: Tensor, logits: Tensor) -> Tensor:
        """Returns (N,), higher is worse for the victim."""
        streams, y = problem.streams.derive("half targeted"), problem.y
        other = (y + 1 + streams.derive("class").below(logits.shape[1] - 1, y)) % logits.shape[1]
        targeted = streams.derive("half").below(2, y) == 0
        return torch.where(targeted, margin_targeted(logits, y, other), cross_entropy(logits, y))

    def targets(self, classes: int) -> int:
        """Returns 1."""
        return 1


VARIANTS: tuple[Variant, ...] = (
    Variant("base", BASE, "As the weights that ship are trained, on a small budget."),
    Variant(
        "no-early",
        "through both at once",
        "early=0: the attack goes through purifier and classifier from the first step.",
        {"early": 0.0},
    ),
    Variant(
        "early-only",
        "never through both",
        "early=1: only the purifier's own reading is ever attacked.",
        {"early": 1.0},
    ),
    Variant("one-step", "one step", "steps=1: the attack of the training is a single step.", {"steps": 1}),
    Variant(
        "one-step-early",
        "one step first",
        "early_steps=1: a single step while only the purifier's own reading is attacked, then as ours.",
        {"early_steps": 1},
    ),
    Variant(
        "consistency",
        "with consistency",
        "consistency=2: the divergence of answers to attacked images from those to clean ones, as in TRADES.",
        {"consistency": 2.0},
    ),
    Variant(
        "pairing",
        "with logit pairing",
        "pairing=0.5: the squared difference of the logits of attacked and of clean images.",
        {"pairing": 0.5},
    ),
    Variant(
        "no-fidelity",
        "without reconstruction",
        "fidelity=0: what is drawn need not look like the clean image.",
        {"fidelity": 0.0},
    ),
    Variant("no-clean", "without clean images", "clean=0: how clean images are read counts nothing.", {"clean": 0.0}),
    Variant(
        "no-oblivious",
        "without oblivious attacks",
        "portion=0: no image is attacked on the bare classifier, at large eps or small.",
        {"portion": 0.0},
    ),
    Variant(
        "no-ramp",
        "without the ramp",
        "The ends of the ramp stay at 0 and 1, where it leaves images as they are.",
        ramp=False,
    ),
    Variant(
        "no-average",
        "without averaging",
        "average=0: the last weights of an epoch are kept, not their moving average.",
        recipe={"average": 0.0},
    ),
    Variant(
        "eps-at-once", "all of eps at once", "ramp=0: eps does not rise, it is there from the start.", {"ramp": 0.0}
    ),
    Variant(
        "no-augmentation",
        "without augmentation",
        "augment: images are neither shifted nor mirrored.",
        {"augment": Classify()},
    ),
    Variant(
        "half-targeted",
        "half on targeted margins",
        "loss: half of the images are attacked on the margin of a random wrong class, half on the cross-entropy.",
        {"loss": HalfTargeted()},
    ),
    Variant(
        "unet",
        "a U-Net",
        "purifier: the U-Net, which has no reading of its own, so that early=0 too; compare it with “through both "
        "at once”.",
        {"early": 0.0},
        purifier="unet",
    ),
    Variant(
        "together",
        "both learn",
        "together: a copy of the classifier learns with the purifier; those who do not know of it attack the original.",
        {"together": True},
    ),
)
"""Every one, the base first."""
