"""The one fitting loop: seeded step by step, validated on images that never train, and resumed where it was killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.precision import precision
from steelman.training import checkpoint as checkpoints
from steelman.training.checkpoint import Epoch, Examples, Run
from steelman.training.recipe import Recipe
from steelman.training.seeding import seeded
from steelman.victim import reseed


class Objective(Protocol):
    """What is minimised, and how a model is judged on images that never train.

    Its repr is its record, and tells two objectives apart.  done: the share of the training that is over, in [0, 1).
    """

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float, /) -> Tensor: ...
    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Progress:
    """What an observer hears after every step."""

    step: int
    steps: int
    loss: float
    history: tuple[Epoch, ...]


Observer = Callable[[Progress], None]


def fit(
    model: nn.Module,
    objective: Objective,
    train: Examples,
    validation: Examples,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    observe: Observer | None = None,
    save_every: float = 60.0,
) -> tuple[Epoch, ...]:
    """Fits the model in place to its best validated weights and returns the history.

    The first of the objective's validation figures decides which epoch is best.
    checkpoint: a file, written atomically every `save_every` seconds and after every epoch; if it is there, the run
    goes on from it and ends with the weights of an uninterrupted one. It stays: remove it once the weights are safe.
    Raises InputError if the checkpoint belongs to another run, or if the loss is not finite.
    """
    if not len(train) or not len(validation):
        raise InputError(f"expected images to train and to validate on, got {len(train)} and {len(validation)}")
    device = torch.device(device)
    model.to(device)
    per_epoch = math.ceil(len(train) / recipe.batch_size)
    steps = recipe.epochs * per_epoch
    run = Run(model, _copy(model) if recipe.average else {}, recipe.optimiser_for(model))
    whose = checkpoints.identity(model, objective, train, validation, recipe)
    if checkpoint is not None and checkpoint.is_file():
        checkpoints.resume(run, checkpoint, whose, device)
    saved, started = time.monotonic(), time.monotonic() - run.seconds
    order = torch.empty(0)
    with seeded(recipe.seed, device):
        while run.step < steps and not (recipe.patience and run.stale >= recipe.patience):
            epoch, at = divmod(run.step, per_epoch)
            if at == 0 or not len(order):
                order = torch.randperm(len(train), generator=torch.Generator().manual_seed(_key(recipe.seed, epoch)))
            batch = train.batch(order[at * recipe.batch_size :][: recipe.batch_size])
            loss = _step(run, objective, batch, recipe, run.step / steps)
            run.summed += loss
            run.step += 1
            run.seconds = time.monotonic() - started
            if at + 1 == per_epoch:
                _close_epoch(run, objective, validation, recipe, epoch, run.summed / per_epoch)
            if observe is not None:
                observe(Progress(run.step, steps, loss, tuple(run.history)))
            if checkpoint is not None and (at + 1 == per_epoch or time.monotonic() - saved > save_every):
                checkpoints.save(run, checkpoint, whose)
                saved = time.monotonic()
    model.load_state_dict(run.best)
    model.eval()
    return tuple(run.history)


def _step(run: Run, objective: Objective, batch: tuple[Tensor, ...], recipe: Recipe, done: float) -> float:
    device = next(run.model.parameters()).device
    reseed(_key(recipe.seed, run.step, 1), device)
    run.model.train()
    for group in run.optimiser.param_groups:
        group["lr"] = recipe.rate_at(done)
    with precision(recipe.precision, device):
        loss = objective.loss(run.model, tuple(part.to(device, non_blocking=True) for part in batch), done)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise InputError(
            f"expected a finite loss, got {value} at step {run.step}: lower the learning rate {recipe.rate}"
        )
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if recipe.clip:
        nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip)
    run.optimiser.step()
    if recipe.average:
        _blend(run.average, run.model, min(recipe.average, (1 + run.step) / (10 + run.step)))
    return value


def _close_epoch(run: Run, objective: Objective, validation: Examples, recipe: Recipe, epoch: int, loss: float) -> None:
    """Validates, keeps the best weights and notes the epoch."""
    own = _copy(run.model)
    if recipe.average:
        run.model.load_state_dict(run.average)
    run.model.eval()
    with precision(recipe.precision, next(run.model.parameters()).device):
        scores = dict(objective.validate(run.model, validation))
    score = next(iter(scores.values()))
    if score > run.best_score:
        run.best, run.best_score, run.stale = _copy(run.model), score, 0
    else:
        run.stale += 1
    if recipe.average:
        run.model.load_state_dict(own)
    run.history.append(Epoch(epoch + 1, loss, scores, run.seconds))
    run.summed = 0.0


def _key(*parts: int) -> int:
    value = 0
    for part in parts:
        value = (value * 1_000_003 + part + 1) % (2**63)
    return value


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _blend(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor.detach(), 1 - decay)
        else:
            average[name].copy_(tensor)
