"""How studies measure: through the engine of the evaluation, whose attacker knows the whole pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from steelman.attacks import AttackLike
from steelman.data import Images
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.progress import OnProgress
from steelman.records import Evaluation

EACH = EvaluationOptions(each=True, certify=False, curve=False, check=False, pictures=0)
"""Every attack on every image, and nothing else."""


def attacked(
    pipeline: Defended,
    images: Images,
    attacks: AttackLike | Sequence[AttackLike],
    *,
    seed: int,
    each: bool = True,
    folder: Path | None = None,
    progress: OnProgress | None = None,
) -> Evaluation:
    """Returns what each of these attacks leaves of all of these images, and what all of one threat leave.

    each: whether every attack is made on every image, or on what those before it left.
    folder: where it is journaled; a killed one goes on there.
    """
    return evaluate(pipeline, images, attacks, replace(EACH, seed=seed, each=each), folder=folder, progress=progress)


def kept(
    pipeline: nn.Module,
    images: Images,
    attacks: AttackLike | Sequence[AttackLike],
    *,
    seed: int,
    progress: OnProgress | None = None,
) -> Tensor:
    """Returns (N,) bool, in the order of their indices: which images survive all of these attacks of one threat."""
    (case,) = attacked(Defended(pipeline, None), images, attacks, seed=seed, each=False, progress=progress).cases
    return torch.tensor([sample.kept for sample in case.samples])
