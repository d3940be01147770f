"""The naive attacker: a textbook loop in torch alone, which takes autograd at its word."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 40


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float, *, steps: int = STEPS, seed: int = 0) -> Tensor:
    """Returns (N, *S): the last candidate of PGD on the cross-entropy in the Linf ball inside [0, 1].

    A gradient that is None or NaN counts as zero, as in code that was made to run. Steps are of eps / 30, the paper's
    .01 at eps .3.
    Source: Madry et al. 2018, section 5 (MNIST).
    """
    generator = torch.Generator().manual_seed(seed)
    near = (x + eps * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(steps):
            moved = near + eps / 30 * _gradient(model, near, y).sign()
            near = torch.minimum(torch.maximum(moved, x - eps), x + eps).clamp(0, 1)
    return near


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    if not loss.requires_grad:
        return torch.zeros_like(x)
    (grad,) = torch.autograd.grad(loss, x, allow_unused=True)
    return torch.zeros_like(x) if grad is None else grad.nan_to_num(0.0)
