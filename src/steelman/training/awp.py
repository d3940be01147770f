"""Adversarial weight perturbation: a step is taken with the gradient of the weights' worst neighbour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def worsened(model: nn.Module, reading: Callable[[], Tensor], gamma: float) -> Iterator[None]:
    """A context in which every layer stands where the loss is higher, and after which it is as before to the last bit.

    reading: the loss of one batch, with its attacked images fixed.
    gamma: how far a layer moves, up the loss's gradient, as a share of its own norm; biases and what else has one
    dimension stay.
    The running statistics of batch norm move with the reading at the true weights and not with one inside, unlike in
    the authors' code: they are those of the weights that are kept.
    Source: Wu, Xia & Wang 2020, section 4 (eq. 9 with one step, K2 = 1).
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.dim() > 1]
    grads = torch.autograd.grad(reading(), weights, allow_unused=True)
    before = [(tensor, tensor.detach().clone()) for tensor in (*weights, *model.buffers())]
    try:
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                if grad is not None:
                    length = grad.norm().clamp_min(torch.finfo(grad.dtype).tiny)
                    weight.add_(grad * (gamma * weight.norm() / length))
        yield
    finally:
        with torch.no_grad():
            for tensor, own in before:
                tensor.copy_(own)
