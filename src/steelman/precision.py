"""The number format that a model computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from steelman.errors import InputError

Precision = Literal["fp32", "bf16", "auto"]

PRECISIONS = ("fp32", "bf16", "auto")


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """A context in which a model runs in fp32 or under bf16 autocast; "auto" takes bf16 where it is native.

    Raises InputError for another name.
    """
    with torch.autocast(device.type, torch.bfloat16, enabled=is_half(name, device)):
        yield


def is_half(name: str, device: torch.device) -> bool:
    """Returns whether a precision means bf16 on a device.

    Raises InputError for another name.
    """
    if name not in PRECISIONS:
        raise InputError(f"expected precision {', '.join(PRECISIONS)}, got {name!r}")
    return name == "bf16" or (name == "auto" and native_bf16(device))


def native_bf16(device: torch.device) -> bool:
    """Returns whether the device has matrix units for bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())
