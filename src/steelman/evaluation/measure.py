"""The single measurements that evaluations are made of."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn

from steelman.attacks import Attack, Progress, Result, averaged
from steelman.data import Images
from steelman.errors import InputError
from steelman.evaluation.intervals import clopper_pearson
from steelman.evaluation.records import Row
from steelman.victim import Mode, Victim

Observer = Callable[[Progress], None]


def probabilities(
    model: nn.Module, x: Tensor, y: Tensor, *, mode: Mode = "eval", seed: int = 0, batch: int = 128
) -> Tensor:
    """Returns (N, K): what the model says of each image, by softmax, in order and `batch` at a time.

    Raises InputError for logits of a wrong shape or labels out of range.
    """
    with Victim(model, mode=mode, seed=seed, device=x.device) as victim:
        parts = [victim.logits(a, b).float() for a, b in zip(x.split(batch), y.split(batch), strict=True)]
    said = torch.cat(parts).softmax(1)
    if not bool(torch.isfinite(said).all()):
        raise InputError("expected finite logits, got NaN or infinite ones: the model overflows on these images")
    return said


def right(model: nn.Module, x: Tensor, y: Tensor, *, mode: Mode = "eval", seed: int = 0, batch: int = 128) -> Tensor:
    """Returns (N,) bool: which images the model reads as y."""
    return probabilities(model, x, y, mode=mode, seed=seed, batch=batch).argmax(1) == y


def is_random(model: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Returns whether the model, in evaluation mode, answers differently when it is asked twice."""
    x, y = x[:32], y[:32]
    with Victim(model, device=x.device) as victim:
        return not torch.equal(victim.logits(x, y), victim.logits(x, y))


def adaptive(
    attack: Attack, model: nn.Module, images: Images, *, seed: int = 0, observe: Observer | None = None
) -> Result:
    """Returns what an attack finds that goes through the whole pipeline, averaging over what it draws at random."""
    x, y = on(model, images)
    if is_random(model, x, y):
        attack = attack.through(averaged(10))
    return attack(model, x, y, seed=seed, indices=images.indices, observe=observe)


def on(model: nn.Module, images: Images) -> tuple[Tensor, Tensor]:
    """Returns images and labels on the model's device."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return images.x.to(device), images.y.to(device)


def row(correct: Tensor, **fields: object) -> Row:
    """Returns the record of a cell: accuracy and its interval from (N,) bool, the rest as given."""
    n, hits = len(correct), int(correct.sum())
    low, high = clopper_pearson(hits, n)
    return Row(n=n, accuracy=hits / n, ci_low=low, ci_high=high, **fields)  # type: ignore[arg-type]


def latency(model: nn.Module, x: Tensor, *, warm_up: int = 30, runs: int = 200) -> float:
    """Returns the median time in milliseconds for one image, (1, *S), through a model in evaluation mode."""
    model.eval()
    times = []
    with torch.inference_mode():
        for i in range(warm_up + runs):
            if x.is_cuda:
                torch.cuda.synchronize()
            start = time.perf_counter()
            model(x)
            if x.is_cuda:
                torch.cuda.synchronize()
            if i >= warm_up:
                times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def versions() -> dict[str, str]:
    """Returns what a measurement ran on: steelman, Python, torch, processor, threads and GPU."""
    try:
        own = version("steelman")
    except PackageNotFoundError:
        own = "not installed"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "steelman": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
        "gpu": gpu,
    }
