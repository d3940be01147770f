"""What an attacker ascends: (logits, y) -> (N,), higher where the sample is nearer to being misclassified.

For a targeted attack y is the wanted class and the victim's loss is the negative of these.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from steelman.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Returns the best other logit minus that of class y: positive where the sample is misclassified.

    logits: (N, K), K >= 2.  y: (N,), int64 in [0, K).
    Returns (N,).
    Source: Carlini & Wagner 2017, f6.
    """
    return others(logits, y).amax(1) - _of(logits, y)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Returns the cross-entropy of the softmax, with a gradient also where the softmax rounds to one.

    logits: (N, K), K >= 2.  y: (N,), int64 in [0, K).
    Returns (N,). The usual formula loses its gradient where the others' probability rounds to 0, and with it an
    attacker the way; here it comes from their log-odds, of which 1e-20 is added: too little to be seen in the value,
    and enough to keep the direction however sure the model is.
    """
    odds = others(logits, y).logsumexp(1) - _of(logits, y)
    return F.softplus(odds) + 1e-20 * odds


def negative_logit(logits: Tensor, y: Tensor) -> Tensor:
    """Returns the negative of the raw logit of class y, which is what `nll_loss` gives without a softmax.

    logits: (N, K).  y: (N,), int64 in [0, K).
    Returns (N,).
    Source: code of arXiv 2312.03520, its FGSM.
    """
    return -_of(logits, y)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Returns the difference-of-logits ratio: positive where the sample is misclassified.

    logits: (N, K), K >= 3.  y: (N,), int64 in [0, K).
    Returns (N,), invariant to shifting and scaling the logits.
    Raises InputError if K < 3.
    Source: Croce & Hein 2020, eq. 6.
    """
    if logits.shape[1] < 3:
        raise InputError(f"expected at least 3 classes for DLR, got {logits.shape[1]}: use margin or cross_entropy")
    top = logits.topk(3, dim=1).values
    spread = (top[:, 0] - top[:, 2]).clamp_min(torch.finfo(logits.dtype).tiny)
    return margin(logits, y) / spread


def others(logits: Tensor, y: Tensor) -> Tensor:
    """Returns (N, K): the logits with that of class y at minus infinity."""
    return logits.scatter(1, y[:, None], -torch.inf)


def _of(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]).squeeze(1)
