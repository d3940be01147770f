"""The nearest point of a hyperplane inside a box, in Linf, L2 or L1: exact, and for every sample at once."""

from __future__ import annotations

import torch
from torch import Tensor


def onto_plane(x: Tensor, w: Tensor, b: Tensor, *, norm: str, low: float, high: float) -> Tensor:
    """Returns (N, D): the smallest change that takes each x to the plane w·z = b without leaving the box.

    x: (N, D), inside the box [low, high], either of which may be infinite.  w: (N, D).  b: (N,).
    norm: "Linf", "L2" or "L1".
    Where the plane misses the box, the change goes as far towards it as the box allows; where w is zero, it is zero.
    Source: Croce & Hein 2020 (Minimally distorted adversarial examples), eq. 2 and 3, solved by its dual.
    """
    gap = b - (w * x).sum(1)
    direction = w.sign() * gap.sign()[:, None]
    weight = w.abs()
    top = weight.amax(1, keepdim=True)
    top = torch.where(top > 0, top, torch.ones_like(top))
    weight, gap = weight / top, gap.abs()[:, None] / top
    room = torch.where(direction > 0, high - x, x - low).clamp_min(0)
    # No entry ever needs more than what closes the gap alone, which keeps an open box finite.
    enough = 2 * gap / weight.clamp_min(torch.finfo(x.dtype).tiny)
    room = torch.minimum(room, enough).clamp_max(torch.finfo(x.dtype).max ** 0.5).masked_fill(direction == 0, 0)
    return direction * (_greedy(weight, room, gap) if norm == "L1" else _level(weight, room, gap, norm))


def _level(weight: Tensor, room: Tensor, gap: Tensor, norm: str) -> Tensor:
    """The least u, 0 <= u <= room, with weight·u = gap: u = min(t · pace, room) for the t that closes the gap.

    What closes it is concave in t, so that Newton's method from below ends at the root after finitely many steps.
    """
    pace = torch.ones_like(weight) if norm == "Linf" else weight
    gain = weight * pace
    full = weight * room
    stopped = room <= 0
    while True:
        rest = gap - (full * stopped).sum(1, keepdim=True)
        slope = (gain * ~stopped).sum(1, keepdim=True)
        t = (rest / slope.clamp_min(torch.finfo(slope.dtype).tiny)).clamp_min(0)
        more = stopped | (t * pace >= room)
        if torch.equal(more, stopped):
            return torch.where(stopped, room, t * pace)
        stopped = more


def _greedy(weight: Tensor, room: Tensor, gap: Tensor) -> Tensor:
    """The least sum of u, 0 <= u <= room, with weight·u = gap: the heaviest entries first, each to its room."""
    sorted_, order = weight.sort(dim=1, descending=True, stable=True)
    space = room.gather(1, order)
    full = sorted_ * space
    before = full.cumsum(1) - full
    used = ((gap - before) / sorted_.clamp_min(torch.finfo(weight.dtype).tiny)).clamp_min(0)
    return torch.zeros_like(room).scatter_(1, order, torch.minimum(used, space))
