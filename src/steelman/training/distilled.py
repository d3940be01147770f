"""Whole trainings by defensive distillation: what `steelman train distilled` runs."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from steelman.data import Data
from steelman.errors import InputError
from steelman.progress import OnProgress
from steelman.training.objectives.distil import Distil
from steelman.training.recipe import Recipe
from steelman.training.recipes import CNN
from steelman.training.trained import Trained, fitted
from steelman.weights import digest


def distilled(
    model: nn.Module,
    data: Data,
    *,
    name: str,
    teacher: nn.Module | None,
    temperature: float = 100.0,
    recipe: Recipe = CNN,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns a classifier that learnt a teacher's softened answers, 1/12 of whose training images only validate.

    The defence is known to be broken: its logits are so far apart that the gradient of the cross-entropy vanishes in
    rounding, which stops an attacker who takes no other loss (Carlini & Wagner 2017, section VIII).

    name: of the model in the catalogue, for the record.
    teacher: of the same architecture, trained at the same temperature; None for the labels, as such a teacher learns.
    temperature: of both softmaxes in training; the papers break and defend MNIST at 100. The model is used at 1.
    Raises InputError for a temperature that is not positive, and for a teacher that is the model.
    Source: Papernot et al. 2016 (Distillation as a defense), section IV; the optimiser and the averaging are ours.
    """
    if teacher is model:
        raise InputError("expected a teacher beside the model, got the model itself: build another")
    if teacher is not None:
        teacher = teacher.to(device).eval().requires_grad_(False)
    objective = Distil(teacher=teacher, temperature=temperature)
    metadata: dict[str, object] = {"model": name, "temperature": temperature}
    if teacher is not None:
        metadata["teacher"] = digest(teacher)
    return fitted(model, objective, data, recipe, metadata, checkpoint=checkpoint, device=device, progress=progress)
