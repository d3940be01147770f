"""The single measurements that evaluations are made of."""

from __future__ import annotations

import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steelman.data import Images
from steelman.evaluation.intervals import clopper_pearson
from steelman.records import Protocol, Row
from steelman.version import VERSION
from steelman.victim import Abstention, Mode, Victim


def probabilities(
    model: nn.Module, x: Tensor, y: Tensor, *, mode: Mode = "eval", seed: int = 0, batch: int = 128
) -> Tensor:
    """Returns (N, K): what the model says of each image, by softmax, in order and `batch` at a time.

    The last column of a model that may abstain stands for that.
    Raises InputError for logits of a wrong shape or labels out of range.
    """
    with Victim(model, mode=mode, seed=seed, device=x.device, abstention="a class") as victim:
        parts = [victim.logits(a, b).float() for a, b in zip(x.split(batch), y.split(batch), strict=True)]
    return torch.cat(parts).softmax(1)


def margins(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    mode: Mode = "eval",
    seed: int = 0,
    batch: int = 128,
    draws: int = 1,
    abstention: Abstention = "a class",
) -> Tensor:
    """Returns (N,): how far the best other class leads, positive where an image is not classified as y alone.

    draws: answers that are averaged, as for a model that answers differently when it is asked twice.
    abstention: whether to abstain is "right", as on an adversarial image, or never so, as on a clean one.
    """
    parts = []
    with Victim(model, mode=mode, seed=seed, device=x.device, abstention=abstention) as victim:
        for a, b in zip(x.split(batch), y.split(batch), strict=True):
            logits = torch.stack([victim.logits(a, b) for _ in range(draws)]).mean(0)
            parts.append(victim.margin(logits, b))
    return torch.cat(parts)


def right(model: nn.Module, x: Tensor, y: Tensor, **settings: Any) -> Tensor:
    """Returns (N,) bool: which images the model classifies as y and as nothing else.

    settings: as of `margins`.
    """
    return margins(model, x, y, **settings) <= 0


def is_random(model: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Returns whether the model, in evaluation mode, answers differently when it is asked twice."""
    x, y = x[:32], y[:32]
    with Victim(model, device=x.device) as victim:
        return not torch.equal(victim.logits(x, y), victim.logits(x, y))


def on(model: nn.Module, images: Images) -> tuple[Tensor, Tensor]:
    """Returns images and labels on the model's device."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return images.x.to(device), images.y.to(device)


def row(correct: Tensor, **fields: Any) -> Row:
    """Returns the record of a cell: accuracy and its interval from (N,) bool, the rest as given."""
    n, hits = len(correct), int(correct.sum())
    low, high = clopper_pearson(hits, n)
    fields["protocol"] = Protocol(fields["protocol"])
    return Row(n=n, accuracy=hits / n, ci_low=low, ci_high=high, **fields)


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
    """Returns what a measurement ran on: steelman, Python, torch, system, processor, threads and GPU."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "steelman": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "gpu": gpu,
    }


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")
