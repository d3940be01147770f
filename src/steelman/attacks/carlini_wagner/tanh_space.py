"""The change of variables that keeps an image inside its box, and Adam in it: what Carlini & Wagner's attacks share."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from steelman.attacks.settings import column, where
from steelman.threat import Threat

SHRINK = 0.5
"""What share of tanh's range the box takes.

With all of it, as in the paper, a black or a white pixel starts so far out that 100 steps of .01 cannot move it: on
MNIST three images in four then hold. With half of it, where the variables stop at the box's edge, the formula is the
same and every pixel moves from the first step.
"""


def to_image(w: Tensor, threat: Threat) -> Tensor:
    """Returns (N, *S): the images that variables w stand for, inside the box; w itself where the box has no end.

    Source: Carlini & Wagner 2017, section V-A, but for SHRINK.
    """
    middle, half = _box(threat)
    return w if half is None else torch.tanh(w).mul_(half / SHRINK).add_(middle).clamp_(threat.low, threat.high)


def to_variable(x: Tensor, threat: Threat) -> Tensor:
    """Returns (N, *S): the variables of images in the box."""
    middle, half = _box(threat)
    if half is None:
        return x.clone()
    z = ((x - middle) * (SHRINK / half)).clamp_(-SHRINK, SHRINK)
    return (z.log1p() - z.neg().log1p_()) / 2  # torch.atanh rounds by an element's place in the batch


def slope(x: Tensor, threat: Threat) -> Tensor | float:
    """Returns (N, *S): how fast images move with their variables."""
    middle, half = _box(threat)
    return 1.0 if half is None else half / SHRINK * (1 - ((x - middle) * (SHRINK / half)).square_()).clamp_min_(0)


def side(threat: Threat) -> float:
    """Returns the length of the box's sides, in which distances are measured; 1 where it has no end."""
    length = threat.high - threat.low
    return length if math.isfinite(length) else 1.0


class Adam(NamedTuple):
    """The moments of Adam, (N, *S), and how many steps each sample has made with them, (N,) int64."""

    mean: Tensor
    square: Tensor
    t: Tensor

    @classmethod
    def zeros(cls, like: Tensor) -> Adam:
        """Returns moments of samples, (N, *S), that have made no step."""
        return cls(
            torch.zeros_like(like),
            torch.zeros_like(like),
            torch.zeros(len(like), dtype=torch.int64, device=like.device),
        )

    def begun(self, again: Tensor) -> Adam:
        """Returns the same moments, but for samples chosen, (N,) bool, that begin again."""
        return Adam(*(where(again, torch.zeros_like(part), part) for part in self))

    def step(self, grad: Tensor, rate: float) -> tuple[Tensor, Adam]:
        """Returns (N, *S), what a descent adds to the variables, and the moments after it.

        Source: Kingma & Ba 2015, algorithm 1, with its betas .9 and .999.
        """
        mean = torch.lerp(grad, self.mean, 0.9)
        square = torch.lerp(grad.square(), self.square, 0.999)
        t = self.t + 1
        power = t.to(grad.dtype if grad.dtype == torch.float64 else torch.float32)
        scale = -rate / (1 - 0.9**power)
        root = (1 - 0.999**power).sqrt()
        move = column(scale * root, grad) * mean / (square.sqrt() + 1e-8 * column(root, grad))
        return move, Adam(mean, square, t)


def _box(threat: Threat) -> tuple[float, float | None]:
    length = threat.high - threat.low
    if not math.isfinite(length):
        return 0.0, None
    return threat.low + length / 2, length / 2
