"""Torch's generators while a network is made and trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from steelman.victim import reseed


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """A context in which torch's generators start from a seed, and after which they are as before.

    What a module draws at its making depends on it; on a GPU, convolutions are deterministic inside.
    """
    device = torch.device(device)
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(deterministic=True, benchmark=False),
    ):
        reseed(seed, device)
        yield
