"""The one fitting loop: seeded step by step, validated on images that never train, and resumed where it was killed."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.precision import precision
from steelman.progress import OnProgress, Progress
from steelman.training import checkpoint as checkpoints
from steelman.training.averaging import blend, settle
from steelman.training.awp import worsened
from steelman.training.checkpoint import CheckpointState, Epoch, Examples
from steelman.training.recipe import Recipe
from steelman.training.seeding import seeded
from steelman.victim import reseed


class Objective(Protocol):
    """What is minimised, and how a model is judged on images that never train.

    Its repr is its record, and tells two objectives apart.  done: the share of the training that is over, in [0, 1).
    """

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float, /) -> Tensor: ...
    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]: ...


@runtime_checkable
class Splitting(Protocol):
    """An objective whose loss is the reading of what it attacked; adversarial weight perturbation reads it twice."""

    def attacked(self, model: nn.Module, batch: tuple[Tensor, ...], done: float, /) -> tuple[Tensor, ...]: ...
    def reading(self, model: nn.Module, made: tuple[Tensor, ...], done: float, /) -> Tensor: ...


@runtime_checkable
class Carrying(Protocol):
    """An objective that is shown each batch so many times running, and carries tensors from step to step.

    They go into the checkpoint; `carry({})` is how a training begins.
    """

    @property
    def repeats(self) -> int: ...
    def carried(self) -> dict[str, Tensor]: ...
    def carry(self, state: Mapping[str, Tensor], /) -> None: ...


@runtime_checkable
class Watching(Protocol):
    """An objective that sees in the history what a user must know, and says it of the last epoch."""

    def warning(self, history: Sequence[Epoch], /) -> str | None: ...


def fit(
    model: nn.Module,
    objective: Objective,
    train: Examples,
    validation: Examples,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    progress: OnProgress | None = None,
    better: Callable[[tuple[Epoch, ...]], None] | None = None,
    save_every: float = 60.0,
) -> tuple[Epoch, ...]:
    """Fits the model in place to its best validated weights and returns the history.

    The first of the objective's validation figures decides which epoch is best.
    An epoch is as many steps as the images make batches; an objective that repeats its batches sees all images once in
    so many epochs. What it says of an epoch is a UserWarning.
    checkpoint: a file, written atomically every `save_every` seconds and after every epoch; if it is there, the run
    goes on from it and ends with the weights of an uninterrupted one. It stays: remove it once the weights are safe.
    better: is called with the history after every epoch that is the best so far, while the model holds its weights.
    Raises InputError if the checkpoint belongs to another run, if the loss is not finite, or if the recipe wants
    adversarial weight perturbation and the objective attacks nothing.
    """
    if not len(train) or not len(validation):
        raise InputError(f"expected images to train and to validate on, got {len(train)} and {len(validation)}")
    if recipe.awp and not isinstance(objective, Splitting):
        raise InputError(
            f"expected an objective that attacks its images with awp, got {type(objective).__name__}: leave awp out"
        )
    device = torch.device(device)
    model.to(device)
    repeats = objective.repeats if isinstance(objective, Carrying) else 1
    per_epoch = math.ceil(len(train) / recipe.batch_size)
    steps = recipe.epochs * per_epoch
    run = CheckpointState(model, _copy(model) if recipe.averages else {}, recipe.optimiser_for(model))
    whose = checkpoints.identity(model, objective, train, validation, recipe)
    if checkpoint is not None and checkpoint.is_file():
        checkpoints.resume(run, checkpoint, whose, device)
    if isinstance(objective, Carrying):
        objective.carry(run.carried)
    saved, started = time.monotonic(), time.monotonic() - run.seconds
    order = torch.empty(0)
    with seeded(recipe.seed, device):
        while run.step < steps and not (recipe.patience and run.stale >= recipe.patience):
            at = run.step % per_epoch
            turn, place = divmod(run.step // repeats, per_epoch)
            if place == 0 or not len(order):
                order = _order(train, recipe.seed, turn)
            batch = train.batch(order[place * recipe.batch_size :][: recipe.batch_size])
            loss = _step(run, objective, batch, recipe, steps)
            run.summed += loss
            run.step += 1
            run.seconds = time.monotonic() - started
            if at + 1 == per_epoch:
                _close_epoch(run, objective, train, validation, recipe, run.summed / per_epoch, better)
            if progress is not None:
                progress(Progress(run.step, steps, notes=tuple(_epoch(one) for one in run.history)))
            if checkpoint is not None and (at + 1 == per_epoch or time.monotonic() - saved > save_every):
                run.carried = objective.carried() if isinstance(objective, Carrying) else {}
                checkpoints.save(run, checkpoint, whose)
                saved = time.monotonic()
    model.load_state_dict(run.best)
    model.eval()
    return tuple(run.history)


def warned(objective: Objective, history: Sequence[Epoch]) -> tuple[str, ...]:
    """Returns what an objective says of the epochs of a history, as `fit` did when they ended."""
    if not isinstance(objective, Watching):
        return ()
    said = (objective.warning(history[:end]) for end in range(1, len(history) + 1))
    return tuple(filter(None, said))


def _step(run: CheckpointState, objective: Objective, batch: tuple[Tensor, ...], recipe: Recipe, steps: int) -> float:
    device, done = next(run.model.parameters()).device, run.step / steps
    reseed(_key(recipe.seed, run.step, 1), device)
    run.model.train()
    for group in run.optimiser.param_groups:
        group["lr"] = recipe.rate_at(done)
    run.optimiser.zero_grad(set_to_none=True)
    batch = tuple(part.to(device, non_blocking=True) for part in batch)
    if recipe.awp and done >= recipe.awp_after and isinstance(objective, Splitting):
        with precision(recipe.precision, device):
            made = objective.attacked(run.model, batch, done)
        reading = _within(recipe, device, lambda: objective.reading(run.model, made, done))
        with worsened(run.model, reading, recipe.awp):
            value = _backward(reading(), run.step, recipe)
    else:
        value = _backward(_within(recipe, device, lambda: objective.loss(run.model, batch, done))(), run.step, recipe)
    if recipe.clip:
        nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip)
    run.optimiser.step()
    if recipe.averages:
        blend(run.average, run.model, recipe.decay_at(run.step, steps))
    return value


def _within(recipe: Recipe, device: torch.device, read: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same in the recipe's precision, in a context of its own each time: autocast keeps the weights that it met."""

    def reading() -> Tensor:
        with precision(recipe.precision, device):
            return read()

    return reading


def _backward(loss: Tensor, step: int, recipe: Recipe) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise InputError(f"expected a finite loss, got {value} at step {step}: lower the learning rate {recipe.rate}")
    loss.backward()
    return value


def _close_epoch(
    run: CheckpointState,
    objective: Objective,
    train: Examples,
    validation: Examples,
    recipe: Recipe,
    loss: float,
    better: Callable[[tuple[Epoch, ...]], None] | None,
) -> None:
    """Validates, keeps the best weights and notes the epoch."""
    own = _copy(run.model)
    if recipe.averages:
        run.model.load_state_dict(run.average)
        if recipe.settle:
            _settle(run, objective, train, recipe)
    run.model.eval()
    with precision(recipe.precision, next(run.model.parameters()).device):
        scores = dict(objective.validate(run.model, validation))
    score = next(iter(scores.values()))
    run.history.append(Epoch(len(run.history) + 1, loss, scores, run.seconds))
    run.summed = 0.0
    if score > run.best_score:
        run.best, run.best_score, run.stale = _copy(run.model), score, 0
        if better is not None:
            better(tuple(run.history))
    else:
        run.stale += 1
    if recipe.averages:
        run.model.load_state_dict(own)
    said = objective.warning(run.history) if isinstance(objective, Watching) else None
    if said:
        warnings.warn(said, stacklevel=3)


def _settle(run: CheckpointState, objective: Objective, train: Examples, recipe: Recipe) -> None:
    """Takes the batch-norm statistics anew over batches of the recipe's number, without a trace in the training."""
    device = next(run.model.parameters()).device
    reseed(_key(recipe.seed, run.step, 2), device)
    order = _order(train, recipe.seed, run.step, 2)
    carried = objective.carried() if isinstance(objective, Carrying) else {}

    def readings() -> Iterator[Callable[[], Tensor]]:
        for chosen in order.split(recipe.batch_size)[: recipe.settle]:
            batch = tuple(part.to(device) for part in train.batch(chosen))
            if isinstance(objective, Carrying):
                objective.carry({})
            yield _within(recipe, device, lambda batch=batch: objective.loss(run.model, batch, 1.0))  # type: ignore[misc]

    settle(run.model, readings())
    if isinstance(objective, Carrying):
        objective.carry(carried)


def _epoch(one: Epoch) -> str:
    scores = ", ".join(f"{name} {value:.4f}" for name, value in one.scores.items())
    return f"epoch {one.epoch}: loss {one.loss:.4f}, {scores} ({one.seconds:.0f} s)"


def _order(train: Examples, *key: int) -> Tensor:
    return torch.randperm(len(train), generator=torch.Generator().manual_seed(_key(*key)))


def _key(*parts: int) -> int:
    value = 0
    for part in parts:
        value = (value * 1_000_003 + part + 1) % (2**63)
    return value


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
