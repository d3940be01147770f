"""How studies measure: through the engine of the evaluation, whose attacker knows the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from steelman.attacks import AttackLike, Progress
from steelman.data import Images
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.measure import Observer
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.evaluation.running.runner import Now
from steelman.records import Evaluation

EACH = EvaluationOptions(each=True, certify=False, curve=False, check=False, pictures=0)
"""Every attack on every image, and nothing else."""

_PARTS = 1000


def attacked(
    pipeline: Defended,
    images: Images,
    attacks: AttackLike | Sequence[AttackLike],
    *,
    seed: int,
    folder: Path | None = None,
    observe: Observer | None = None,
) -> Evaluation:
    """Returns what each of these attacks leaves of all of these images, and what all of one threat leave.

    folder: where it is journaled; a killed one goes on there.
    """
    progress = None if observe is None else relayed(observe)
    return evaluate(pipeline, images, attacks, replace(EACH, seed=seed), folder=folder, progress=progress)


def kept(
    pipeline: nn.Module,
    images: Images,
    attacks: AttackLike | Sequence[AttackLike],
    *,
    seed: int,
    observe: Observer | None = None,
) -> Tensor:
    """Returns (N,) bool, in the order of their indices: which images survive all of these attacks of one threat."""
    (case,) = attacked(Defended(pipeline, None), images, attacks, seed=seed, observe=observe).cases
    return torch.tensor([sample.kept for sample in case.samples])


def relayed(observe: Observer) -> Callable[[Now], None]:
    """Returns who hears an evaluation, and tells another how far it is; never back, as a check may add to the whole."""
    furthest = 0.0

    def hear(now: Now) -> None:
        nonlocal furthest
        furthest = max(furthest, (now.at + now.progress.done / max(1, now.progress.total)) / now.of)
        observe(Progress(round(_PARTS * furthest), _PARTS, now.progress.broken))

    return hear
