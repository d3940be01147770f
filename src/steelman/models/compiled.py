"""A compiled model that is always shown batches of one size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Compiled(nn.Module):
    """A model through `torch.compile`, (N, *S) to logits (N, K), every batch brought to `batch` samples.

    One size means one compilation, and on a GPU one CUDA graph, whatever leaves or joins a batch; a model whose answer
    depends on the batch (batch norm in training mode) answers differently.

    batch: as many samples as an attack has slots.  mode: of torch.compile; CUDA graphs on a GPU unless told.
    On a CPU a small network gains nothing: measure before you use it.
    """

    def __init__(self, model: nn.Module, batch: int, *, mode: str | None = None, backend: str = "inductor") -> None:
        super().__init__()
        cuda = any(parameter.is_cuda for parameter in model.parameters())
        how: dict[str, Any] = {"mode": mode or "reduce-overhead"} if mode or (cuda and backend == "inductor") else {}
        self.inner = model
        self.batch = batch
        self._run = torch.compile(model, dynamic=False, backend=backend, **how)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._padded(part) for part in x.split(self.batch)])

    def _padded(self, x: Tensor) -> Tensor:
        missing = self.batch - len(x)
        full = F.pad(x, [0, 0] * (x.dim() - 1) + [0, missing]) if missing else x
        logits: Tensor = self._run(full)
        return logits[: len(x)].clone()  # a CUDA graph writes over what it gave
