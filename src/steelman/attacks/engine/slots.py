"""How many samples to have in the model at once: what memory allows, or what is fastest."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from steelman.errors import InputError
from steelman.losses import cross_entropy
from steelman.victim import Victim

MEMORY = 4 * 2**30
"""Bytes that a model's activations may take, unless told."""

SMALL = 4096
"""Values of an image below which no number of slots that is worth having fills the memory."""

TRIED = (32, 64, 128, 256, 512)
REPEATS = 2


def bounded(slots: int, victim: Victim, x: Tensor, y: Tensor, memory: int) -> int:
    """Returns at most so many slots that the activations of a pass with a gradient fit into `memory` bytes.

    Images of fewer than 4,096 values are not measured, nor is a model that gives no gradient.
    """
    if x[0].numel() < SMALL:
        return slots
    try:
        with victim:
            return max(1, min(slots, memory // max(1, _bytes(victim, x[:2], y[:2]))))
    except InputError:  # the attack will say so, if it needs one
        return slots


def timed(victim: Victim, x: Tensor, y: Tensor, most: int) -> int:
    """Returns how many slots, at most `most`, take the least time an image for a pass forwards and back."""
    with victim:
        return min(
            (size for size in TRIED if size <= most), key=lambda size: _seconds(victim, x, y, size), default=most
        )


def _seconds(victim: Victim, x: Tensor, y: Tensor, size: int) -> float:
    rows = torch.arange(size, device=x.device) % len(x)
    batch, labels = x[rows], y[rows]
    best = float("inf")
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        victim.answer(batch, labels, lambda logits: cross_entropy(logits, labels))
        if x.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best / size


def _bytes(victim: Victim, x: Tensor, y: Tensor) -> int:
    """What autograd keeps of one sample between the passes, parameters left out."""
    kept: dict[int, int] = {}
    known = {p.untyped_storage().data_ptr() for p in getattr(victim.model, "parameters", list)()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        victim.answer(x, y, lambda logits: cross_entropy(logits, y))
    return sum(kept.values()) // len(x)
