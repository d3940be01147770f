"""What every defence checks at its door: images of the right shape, on [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steelman.errors import InputError

SLACK = 1e-3
"""How far beyond [0, 1] rounding may carry an image."""


def check(defence: nn.Module, x: Tensor, channels: object = None, side: int | None = None) -> None:
    """Checks what comes into a defence.

    x: (N, channels, H, W) in [0, 1], of any number of channels if none is given, and with H = W = side if one is.
    Raises InputError that says what was expected, what came and the way out.
    """
    name = type(defence).__name__
    if x.dim() != 4 or (channels is not None and x.shape[1] != channels):
        raise InputError(
            f"expected images (N, {channels or 'channels'}, H, W) for {name}, got {tuple(x.shape)}: "
            "a defence takes the images that it was made for"
        )
    if side is not None and x.shape[-2:] != (side, side):
        raise InputError(
            f"expected images of {side}×{side} for {name}, got {tuple(x.shape)}: use models.fitted(purifier, shape)"
        )
    if torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing()) or not x.numel():
        return
    low, high = (float(end) for end in torch.aminmax(x.detach()))
    if not (low >= -SLACK and high <= 1 + SLACK):
        raise InputError(
            f"expected images in [0, 1] for {name}, got values from {low:g} to {high:g}: "
            "put the defence before the normalisation, which belongs to the classifier"
        )
