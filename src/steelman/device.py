"""Where a model runs."""

from __future__ import annotations

import torch

from steelman.errors import InputError


def device(name: str) -> str:
    """Returns the device to work on; "auto" takes a GPU where there is one.

    Raises InputError for a device that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("expected a CUDA GPU for --device cuda, got none: say --device cpu")
    try:
        torch.zeros(1, device=name).add_(1).item()
    except (RuntimeError, NotImplementedError, AssertionError):
        raise InputError(f"expected a device that is there, such as cpu or cuda, got {name!r}") from None
    return name
