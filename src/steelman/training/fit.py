"""The one fitting loop: seeded step by step, validated on images that never train, and resumed where it was killed."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.files import put_bytes


class Examples(Protocol):
    """What can be trained on: a length, and the tensors of some indices, images first."""

    def __len__(self) -> int: ...
    def batch(self, indices: Tensor, /) -> tuple[Tensor, ...]: ...


class Objective(Protocol):
    """What is minimised, and how a model is judged on images that never train."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor: ...
    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]: ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to fit: everything that decides the weights besides model, data and objective.

    optimiser: "adamw", "adam" or "sgd".  schedule: "one-cycle" (linear warm-up, then a cosine to zero) or "constant".
    average: decay of an exponential moving average of the weights, 0 for none; the average is what is kept.
    patience: epochs without a better score before it stops, 0 for never.
    precision: "fp32", "bf16" or "auto" (bf16 where the device multiplies it natively).
    """

    epochs: int
    batch_size: int = 128
    optimiser: str = "adamw"
    rate: float = 2e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "one-cycle"
    average: float = 0.0
    patience: int = 0
    clip: float = 0.0
    precision: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """One line of the history: the epoch's mean loss, its validation figures and the seconds so far."""

    epoch: int
    loss: float
    scores: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class Progress:
    """What an observer hears after every step."""

    step: int
    steps: int
    loss: float
    history: tuple[Epoch, ...]


Observer = Callable[[Progress], None]


@dataclass
class _Run:
    """All that a checkpoint holds."""

    model: nn.Module
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    summed: float = 0.0
    seconds: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)
    best_score: float = -math.inf
    stale: int = 0
    history: list[Epoch] = field(default_factory=list)


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
    goes on from it and ends with the weights of an uninterrupted one. It is removed at the end.
    Raises InputError if the checkpoint belongs to another run, or if the loss is not finite.
    """
    if not len(train) or not len(validation):
        raise InputError(f"expected images to train and to validate on, got {len(train)} and {len(validation)}")
    device = torch.device(device)
    model.to(device)
    per_epoch = math.ceil(len(train) / recipe.batch_size)
    run = _Run(model, _copy(model) if recipe.average else {}, _optimiser(model, recipe))
    identity = {
        "recipe": asdict(recipe),
        "objective": repr(objective),
        "images": len(train),
        "model": type(model).__name__,
    }
    if checkpoint is not None and checkpoint.is_file():
        _resume(run, checkpoint, identity, device)
    saved, started = time.monotonic(), time.monotonic() - run.seconds
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        while run.step < recipe.epochs * per_epoch and not (recipe.patience and run.stale >= recipe.patience):
            epoch, at = divmod(run.step, per_epoch)
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(_key(recipe.seed, epoch)))
            loss = _step(
                run, objective, train.batch(order[at * recipe.batch_size :][: recipe.batch_size]), recipe, per_epoch
            )
            run.summed += loss
            run.step += 1
            run.seconds = time.monotonic() - started
            if at + 1 == per_epoch:
                _close_epoch(run, objective, validation, recipe, epoch, run.summed / per_epoch)
            if observe is not None:
                observe(Progress(run.step, recipe.epochs * per_epoch, loss, tuple(run.history)))
            if checkpoint is not None and (at + 1 == per_epoch or time.monotonic() - saved > save_every):
                _save(run, checkpoint, identity)
                saved = time.monotonic()
    model.load_state_dict(run.best)
    model.eval()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return tuple(run.history)


def _step(run: _Run, objective: Objective, batch: tuple[Tensor, ...], recipe: Recipe, per_epoch: int) -> float:
    device = next(run.model.parameters()).device
    torch.manual_seed(_key(recipe.seed, run.step, 1))
    run.model.train()
    for group in run.optimiser.param_groups:
        group["lr"] = recipe.rate * _share(recipe, run.step / (recipe.epochs * per_epoch))
    with precision(recipe.precision, device):
        loss = objective.loss(run.model, tuple(part.to(device, non_blocking=True) for part in batch))
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


def _close_epoch(
    run: _Run, objective: Objective, validation: Examples, recipe: Recipe, epoch: int, loss: float
) -> None:
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


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """A context in which a forward pass runs in fp32 or under bf16 autocast; "auto" takes bf16 where it is native."""
    if name not in {"fp32", "bf16", "auto"}:
        raise InputError(f"expected precision fp32, bf16 or auto, got {name!r}")
    with torch.autocast(
        device.type, torch.bfloat16, enabled=name == "bf16" or (name == "auto" and native_bf16(device))
    ):
        yield


def native_bf16(device: torch.device) -> bool:
    """Returns whether the device has matrix units for bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def _share(recipe: Recipe, done: float) -> float:
    if recipe.schedule == "constant":
        return 1.0
    warm = 0.15
    return (done + 1e-3) / (warm + 1e-3) if done < warm else 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm)))


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            parameters,
            recipe.rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
        )
    if recipe.optimiser == "adam":
        return torch.optim.Adam(parameters, recipe.rate, weight_decay=recipe.weight_decay)
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(parameters, recipe.rate, weight_decay=recipe.weight_decay)
    raise InputError(f"expected optimiser adamw, adam or sgd, got {recipe.optimiser!r}")


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


def _save(run: _Run, path: Path, identity: dict[str, Any]) -> None:
    content = io.BytesIO()
    state = {
        "identity": identity,
        "model": run.model.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "average": run.average,
        "best": run.best,
        "numbers": {
            "step": run.step,
            "summed": run.summed,
            "seconds": run.seconds,
            "best_score": run.best_score,
            "stale": run.stale,
        },
        "history": [asdict(epoch) for epoch in run.history],
    }
    torch.save(state, content)
    put_bytes(path, content.getvalue())


def _resume(run: _Run, path: Path, identity: dict[str, Any], device: torch.device) -> None:
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if state["identity"] != identity:
            raise InputError(
                f"expected a checkpoint of this run in {path}, got one with other settings: remove it or say --out"
            )
        run.model.load_state_dict(state["model"])
        run.optimiser.load_state_dict(state["optimiser"])
        run.average, run.best = state["average"], state["best"]
        for name, value in state["numbers"].items():
            setattr(run, name, value)
        run.history = [Epoch(**epoch) for epoch in state["history"]]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"expected a training checkpoint in {path}, got a damaged or other file ({error}): remove it"
        ) from None
