"""MagNet's reformer: a small auto-encoder of clean images, the plain-trained baseline."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks
from steelman.errors import InputError


class Reformer(nn.Module):
    """Moves images (N, channels, H, W) in [0, 1] towards clean ones, by an auto-encoder that saw no attack.

    Convolutions of 3×3 with sigmoids throughout; deterministic. Any H and W, even ones if it pools.

    width: channels of every layer but the last.
    pool: averages 2×2 pixels after the first layer, and repeats each 2×2 where it decodes; without, nothing is smaller
    than the image.
    Raises InputError for a width below 1.
    Source: Meng & Chen 2017 (MagNet), its devices for MNIST, with the layers of the authors' code: reformer and first
    detector pool, the second detector does not and has a layer less on either side. Weights begin as in Keras, which
    the authors used: Glorot & Bengio 2010, uniform, biases at zero.
    """

    def __init__(self, channels: int = 1, width: int = 3, pool: bool = True) -> None:
        super().__init__()
        if not isinstance(width, int) or width < 1:
            raise InputError(f"expected width of Reformer as a whole number from 1, got {width!r}")
        self.settings = {"channels": channels, "width": width, "pool": pool}
        self.channels, self.pool = channels, pool
        self.encoder = nn.ModuleList([_layer(channels, width), *([_layer(width, width)] if pool else [])])
        self.decoder = nn.ModuleList([_layer(width, width), *([_layer(width, width)] if pool else [])])
        self.leave = _layer(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x, self.channels)
        if self.pool and (x.shape[-2] % 2 or x.shape[-1] % 2):
            raise InputError(
                f"expected images of even sides for Reformer, got {x.shape[-2]}×{x.shape[-1]}: say pool=False"
            )
        code = torch.sigmoid(self.encoder[0](x))
        if not self.pool:
            return self._left(torch.sigmoid(self.decoder[0](code)), x)
        code = torch.sigmoid(self.encoder[1](F.avg_pool2d(code, 2)))
        code = torch.sigmoid(self.decoder[0](code))
        code = code.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
        return self._left(torch.sigmoid(self.decoder[1](code)), x)

    def _left(self, code: Tensor, x: Tensor) -> Tensor:
        return torch.sigmoid(self.leave(code).to(x.dtype))


def _layer(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
