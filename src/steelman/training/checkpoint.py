"""What a killed training goes on from."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.files import put_bytes
from steelman.training.recipe import Recipe
from steelman.weights import digest


class Examples(Protocol):
    """What can be trained on: a length, and the tensors of some indices, images first."""

    def __len__(self) -> int: ...
    def batch(self, indices: Tensor, /) -> tuple[Tensor, ...]: ...


@dataclass(frozen=True)
class Epoch:
    """One line of the history: the epoch's mean loss, its validation figures and the seconds so far."""

    epoch: int
    loss: float
    scores: Mapping[str, float]
    seconds: float


@dataclass
class CheckpointState:
    """All that decides how a training goes on."""

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
    carried: dict[str, Tensor] = field(default_factory=dict)


_NUMBERS = ("step", "summed", "seconds", "best_score", "stale")


def identity(
    model: nn.Module, objective: object, train: Examples, validation: Examples, recipe: Recipe
) -> dict[str, Any]:
    """Returns what two runs must share for one to go on from the other's checkpoint, taken before the first step."""
    return {
        "model": digest(model),
        "objective": repr(objective),
        "train": fingerprint(train),
        "validation": fingerprint(validation),
        "recipe": asdict(recipe),
        "torch": str(torch.__version__),
    }


def fingerprint(examples: Examples) -> str:
    """Returns a digest of the length and of 64 examples spread over the whole."""
    places = torch.linspace(0, len(examples) - 1, min(64, len(examples))).long()
    sha = hashlib.sha256(str(len(examples)).encode())
    for part in examples.batch(places):
        sha.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def save(run: CheckpointState, path: Path, whose: dict[str, Any]) -> None:
    """Writes a run whole or not at all."""
    content = io.BytesIO()
    state = {
        "identity": whose,
        "model": run.model.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "average": run.average,
        "best": run.best,
        "carried": run.carried,
        "numbers": {name: getattr(run, name) for name in _NUMBERS},
        "history": [asdict(epoch) for epoch in run.history],
    }
    torch.save(state, content)
    put_bytes(path, content.getvalue())


def resume(run: CheckpointState, path: Path, whose: dict[str, Any], device: torch.device) -> None:
    """Sets a run to what a checkpoint holds.

    Raises InputError if the file is no checkpoint, or another run's; it is kept.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        other = sorted(name for name in whose if state["identity"].get(name) != whose[name])
        if other:
            raise InputError(
                f"expected a checkpoint of this run in {path}, got one with another {', '.join(other)}: "
                "remove it, or say another --out"
            )
        run.model.load_state_dict(state["model"])
        run.optimiser.load_state_dict(state["optimiser"])
        run.average, run.best, run.carried = state["average"], state["best"], state["carried"]
        for name in _NUMBERS:
            setattr(run, name, state["numbers"][name])
        run.history = [Epoch(**epoch) for epoch in state["history"]]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"expected a training checkpoint in {path}, got a damaged or other file ({error}): remove it"
        ) from None
