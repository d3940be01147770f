"""Averages of the weights, and the batch-norm statistics that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def blend(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Moves an average towards a model's weights: decay times itself, and the rest of them."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor.detach(), 1 - decay)
        else:
            average[name].copy_(tensor)


def settle(model: nn.Module, readings: Iterable[Callable[[], object]]) -> None:
    """Takes the running statistics of batch norm anew: the even mean over what the readings see.

    readings: each passes one batch through the model in training mode; the first statistics stand until it has.
    Source: Izmailov et al. 2018 (Averaging Weights Leads to Wider Optima), section 3.2.
    """
    with _evenly([module for module in model.modules() if isinstance(module, _BatchNorm)]), torch.no_grad():
        for read in readings:
            model.train()
            read()


@contextmanager
def _evenly(norms: list[_BatchNorm]) -> Iterator[None]:
    """A context in which the statistics of every batch count the same, beginning with the next."""
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = None
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked * 0
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
