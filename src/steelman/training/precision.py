"""Number formats and seeds while a network trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from steelman.errors import InputError
from steelman.training.recipe import PRECISIONS
from steelman.victim import reseed


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """A context in which a forward pass runs in fp32 or under bf16 autocast; "auto" takes bf16 where it is native."""
    if name not in PRECISIONS:
        raise InputError(f"expected precision {', '.join(PRECISIONS)}, got {name!r}")
    half = name == "bf16" or (name == "auto" and native_bf16(device))
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        yield


def native_bf16(device: torch.device) -> bool:
    """Returns whether the device has matrix units for bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


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
