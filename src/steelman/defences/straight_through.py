"""BPDA: a stage without a usable gradient, differentiated as if it were another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class StraightThrough(nn.Module):
    """A stage that runs as itself forwards and is differentiated as `backward`, as the identity unless told.

    stage: any callable (N, *S) to (N, *S).  backward: a differentiable stand-in of the same shapes.
    Source: Athalye et al. 2018 (Obfuscated gradients), section 4.1 (backward pass differentiable approximation).
    """

    stands_in = True
    """Whoever differentiates this module gets another's gradient, and is told so."""

    def __init__(self, stage: Callable[[Tensor], Tensor], backward: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.stage = stage
        self.backward = backward

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            out = self.stage(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return out
        stand_in = x if self.backward is None else self.backward(x)
        replaced: Tensor = _Replace.apply(out, stand_in)  # type: ignore[no-untyped-call]
        return replaced


class _Replace(torch.autograd.Function):
    """The value of the first, the gradient to the second."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, stand_in: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad
