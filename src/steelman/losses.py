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


def margin_targeted(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Returns the logit of a target minus that of class y: positive where the target is in front.

    logits: (N, K), K >= 2.  y, target: (N,), int64 in [0, K).
    Returns (N,).
    """
    return _of(logits, target) - _of(logits, y)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Returns the cross-entropy of the softmax, with a gradient also where the softmax rounds to one.

    logits: (N, K), K >= 2.  y: (N,), int64 in [0, K).
    Returns (N,). The usual formula loses its gradient where the others' probability rounds to 0, and with it an
    attacker the way; here it comes from their log-odds, of which 1e-20 is added: too little to be seen in the value,
    and enough to keep the direction however sure the model is.
    """
    odds = others(logits, y).logsumexp(1) - _of(logits, y)
    return F.softplus(odds) + 1e-20 * odds


def log_rest(logits: Tensor, y: Tensor) -> Tensor:
    """Returns the logarithm of the probability that the softmax gives to all the other classes together.

    logits: (N, K), K >= 2.  y: (N,), int64 in [0, K).
    Returns (N,), at most 0: unlike the cross-entropy it stops rising once the sample is misclassified.
    """
    return -F.softplus(_of(logits, y) - others(logits, y).logsumexp(1))


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


def dlr_reaching(logits: Tensor, y: Tensor) -> Tensor:
    """Returns the difference-of-logits ratio for a targeted attack: negative where class y, the wanted one, is reached.

    logits: (N, K), K >= 4.  y: (N,), int64 in [0, K).
    Returns (N,), invariant to shifting and scaling the logits. That of `dlr` is constant while y is the third class;
    this one has the denominator of `dlr_targeted`, and unlike it is after every class in front of y.
    Raises InputError if K < 4.
    """
    return margin(logits, y) / _spread(logits)


def dlr_targeted(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Returns the targeted difference-of-logits ratio: positive where the target is in front of class y.

    logits: (N, K), K >= 4.  y, target: (N,), int64 in [0, K).
    Returns (N,), invariant to shifting and scaling the logits.
    Raises InputError if K < 4.
    Source: Croce & Hein 2020, eq. 7.
    """
    return (_of(logits, target) - _of(logits, y)) / _spread(logits)


def others(logits: Tensor, y: Tensor) -> Tensor:
    """Returns (N, K): the logits with that of class y at minus infinity."""
    return logits.scatter(1, y[:, None], -torch.inf)


def _of(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]).squeeze(1)


def _spread(logits: Tensor) -> Tensor:
    """(N,): how far the largest logit is above the mean of the third and the fourth."""
    if logits.shape[1] < 4:
        raise InputError(
            f"expected at least 4 classes for targeted DLR, got {logits.shape[1]}: use margin or cross_entropy"
        )
    top = logits.topk(4, dim=1).values
    return (top[:, 0] - (top[:, 2] + top[:, 3]) / 2).clamp_min(torch.finfo(logits.dtype).tiny)
