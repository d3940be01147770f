"""A model whose answer to an image does not depend on how many others are asked about beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steelman.victim import abstains

LEAST = 8
"""Images in a batch below which the matrix products of a CPU sum in another order (measured: below 8)."""


class Even(nn.Module):
    """A model that is shown at least eight images at a time, the first repeated where there are fewer.

    Products of few rows are summed in another order, so that a verdict could depend on the batch in its last bit, and
    what an attack climbs on with it. model: images (N, *S) to logits (N, K).
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
        if not 0 < n < LEAST:
            out: Tensor = self.model(x)
            return out
        filled = torch.cat([x, x[:1].detach().expand(LEAST - n, *x.shape[1:])])
        kept: Tensor = self.model(filled)[:n]
        return kept
