"""A model whose answer to an image does not depend on how many others are asked about beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steelman.victim import abstains

LEAST, FEW, COARSE = 8, 64, 32
"""Batches are filled up to a multiple of 8, from 64 on of 32."""


class PadBatch(nn.Module):
    """A model that is shown batches of a few sizes only, filled up with copies of their first image.

    Products of fewer than eight rows are summed in another order (measured on a CPU), so that a verdict could depend on
    the batch in its last bit, and what an attack climbs on with it. And for every size that it meets, oneDNN keeps
    kernels of its own: an attack whose batch shrinks one by one makes them by the hundred (2.1 GB of them for one small
    network, 0.6 GB for these sizes).

    model: images (N, *S) to logits (N, K).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def abstains(self) -> bool:
        """Whether the last logit stands for no answer."""
        return abstains(self.model)

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        room = _filled(n)
        if n == room:
            out: Tensor = self.model(x)
            return out
        kept: Tensor = self.model(torch.cat([x, x[:1].detach().expand(room - n, *x.shape[1:])]))[:n]
        return kept


def _filled(n: int) -> int:
    """The size of the batch in which n images are shown."""
    step = LEAST if n < FEW else COARSE
    return -(-n // step) * step
