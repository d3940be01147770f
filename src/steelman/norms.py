"""Balls of the Linf, L2, L1 and L0 norms: the only file that knows p.

Every function here works sample by sample on (N, *S): what one sample is does not touch another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from steelman.errors import InputError
from steelman.streams import Streams

Radius = float | Tensor


ANY = "any"
"""The usual radius where no data set says another; it is that of FAB's code (Croce & Hein 2020)."""


class Ball(Protocol):
    """All perturbations of a norm up to a radius, one for all samples or one for each.

    sparse: whether its steepest moves change few entries.  entrywise: whether each entry is bounded for itself.
    dual: the exponent of the norm that measures how much a move of norm one gains along a gradient.
    usual: radii that the field takes, by a data set's id, or ANY.
    """

    @property
    def eps(self) -> Radius: ...
    @property
    def name(self) -> str: ...
    @property
    def sparse(self) -> bool: ...
    @property
    def entrywise(self) -> bool: ...
    @property
    def dual(self) -> float: ...
    @property
    def usual(self) -> Mapping[str, float]: ...
    def at(self, eps: Radius) -> Ball: ...
    def size(self, delta: Tensor) -> Tensor: ...
    def project(self, delta: Tensor) -> Tensor: ...
    def steepest(self, grad: Tensor) -> Tensor: ...
    def sample(self, streams: Streams, like: Tensor) -> Tensor: ...
    def noise(self, streams: Streams, like: Tensor) -> Tensor: ...
    def diameter(self, pixels: int, side: float) -> float: ...


def _normal(ball: Ball, streams: Streams, like: Tensor) -> Tensor:
    """Returns (N, *S): a direction for each sample, drawn at random, of any length."""
    return streams.normal(like)


@dataclass(frozen=True, eq=False)
class Linf:
    """The largest change of any pixel is at most eps; any size unless told."""

    eps: Radius = math.inf
    name = "Linf"
    sparse = False
    entrywise = True
    dual = 1.0
    usual: ClassVar[Mapping[str, float]] = {"mnist": 0.3, "fashion-mnist": 0.1, "cifar10": 8 / 255, ANY: 0.3}

    def __post_init__(self) -> None:
        _checked(self.eps)

    def at(self, eps: Radius) -> Linf:
        """Returns the ball of the same norm with another radius."""
        return Linf(eps)

    def size(self, delta: Tensor) -> Tensor:
        """Returns (N,): the norm of each sample of delta, (N, *S)."""
        return delta.flatten(1).abs().amax(1)

    def project(self, delta: Tensor) -> Tensor:
        """Returns the nearest point of the ball to each sample of delta, (N, *S)."""
        eps = column(self.eps, delta)
        return delta.clamp(-eps, eps) if isinstance(eps, float) else torch.minimum(torch.maximum(delta, -eps), eps)

    def steepest(self, grad: Tensor) -> Tensor:
        """Returns (N, *S): the move of norm one that gains most along grad; zero where grad is."""
        return grad.sign()

    def sample(self, streams: Streams, like: Tensor) -> Tensor:
        """Returns (N, *S): a uniform draw from the ball for each sample."""
        return column(self.eps, like) * self.noise(streams, like)

    def noise(self, streams: Streams, like: Tensor) -> Tensor:
        """Returns (N, *S): a direction for each sample, drawn at random, of any length."""
        return 2 * streams.uniform(like) - 1

    def diameter(self, pixels: int, side: float) -> float:
        """Returns the largest distance of two images of so many pixels in a box of this side."""
        return side


@dataclass(frozen=True, eq=False)
class L2:
    """The Euclidean length of the change is at most eps; any size unless told."""

    eps: Radius = math.inf
    name = "L2"
    sparse = False
    entrywise = False
    dual = 2.0
    usual: ClassVar[Mapping[str, float]] = {"mnist": 2.0, "fashion-mnist": 1.0, ANY: 1.0}
    noise = _normal

    def __post_init__(self) -> None:
        _checked(self.eps)

    def at(self, eps: Radius) -> L2:
        """Returns the ball of the same norm with another radius."""
        return L2(eps)

    def size(self, delta: Tensor) -> Tensor:
        """Returns (N,): the norm of each sample of delta, (N, *S)."""
        length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
        return length

    def project(self, delta: Tensor) -> Tensor:
        """Returns the nearest point of the ball to each sample of delta, (N, *S)."""
        flat, norm = delta.flatten(1), self.size(delta)[:, None]
        eps = column(self.eps, flat)
        return torch.where(norm > eps, flat * (eps / norm.clamp_min(_tiny(delta))), flat).view_as(delta)

    def steepest(self, grad: Tensor) -> Tensor:
        """Returns (N, *S): the move of norm one that gains most along grad; zero where grad is."""
        flat = grad.flatten(1)
        top = flat.abs().amax(1, keepdim=True)
        scaled = flat / torch.where(top > 0, top, 1)
        return (scaled / self.size(scaled)[:, None].clamp_min(_tiny(grad))).view_as(grad)

    def sample(self, streams: Streams, like: Tensor) -> Tensor:
        """Returns (N, *S): a uniform draw from the ball for each sample."""
        direction = self.steepest(streams.normal(like))
        share = streams.derive("radius").uniform(like.flatten(1)[:, :1]).squeeze(1) ** (1 / like[0].numel())
        return direction * column(share, like) * column(self.eps, like)

    def diameter(self, pixels: int, side: float) -> float:
        """Returns the largest distance of two images of so many pixels in a box of this side."""
        return side * math.sqrt(pixels)


@dataclass(frozen=True, eq=False)
class L1:
    """The changes of all pixels add up to at most eps; to anything unless told.

    share: of the pixels, how many one steepest move spreads over. The exact steepest move is a single pixel, which
    wastes a gradient on it; Tramèr & Boneh 2019, section 3, take the top percent.
    """

    eps: Radius = math.inf
    share: float = 0.01
    name = "L1"
    sparse = True
    entrywise = False
    dual = math.inf
    usual: ClassVar[Mapping[str, float]] = {ANY: 5.0}
    noise = _normal

    def __post_init__(self) -> None:
        _checked(self.eps)
        if not 0 < self.share <= 1:
            raise InputError(f"expected a share of the pixels in (0, 1], got {self.share}")

    def at(self, eps: Radius) -> L1:
        """Returns the ball of the same norm with another radius."""
        return L1(eps, self.share)

    def size(self, delta: Tensor) -> Tensor:
        """Returns (N,): the norm of each sample of delta, (N, *S)."""
        return delta.flatten(1).abs().sum(1)

    def project(self, delta: Tensor) -> Tensor:
        """Returns the nearest point of the ball to each sample of delta, (N, *S).

        Source: Duchi et al. 2008, figure 1, on every sample at once.
        """
        flat = delta.flatten(1)
        eps = column(self.eps, flat)
        sorted_, _ = flat.abs().sort(1, descending=True)
        excess = sorted_.cumsum(1) - eps
        rank = torch.arange(1, flat.shape[1] + 1, device=delta.device, dtype=delta.dtype)
        last = (sorted_ * rank > excess).sum(1).clamp_min(1)
        cut = (excess.gather(1, last[:, None] - 1) / last[:, None]).clamp_min(0)
        shrunk = flat.sign() * (flat.abs() - cut).clamp_min(0)
        # Rounding of the cumulated sum can leave the result a little outside; the last scaling brings it in.
        over = shrunk.abs().sum(1, keepdim=True)
        shrunk = torch.where(over > eps, shrunk * (eps / over.clamp_min(_tiny(delta))), shrunk)
        return torch.where(self.size(delta)[:, None] > eps, shrunk, flat).view_as(delta)

    def steepest(self, grad: Tensor) -> Tensor:
        """Returns (N, *S): a move of norm one over each sample's top share of |grad|, evenly; zero where grad is."""
        flat = grad.flatten(1)
        picked = _top(flat.abs(), max(1, round(self.share * flat.shape[1]))) & (flat != 0)
        return (flat.sign() * picked / picked.sum(1, keepdim=True).clamp_min(1)).view_as(grad)

    def sample(self, streams: Streams, like: Tensor) -> Tensor:
        """Returns (N, *S): a uniform draw from the ball for each sample.

        Exponential magnitudes over their sum, one more than there are pixels, are uniform on the simplex.
        """
        flat = like.flatten(1)
        weight = -torch.log1p(-streams.uniform(flat))
        spare = -torch.log1p(-streams.derive("radius").uniform(flat[:, :1]))
        sign = torch.where(streams.derive("sign").uniform(flat) < 0.5, -1.0, 1.0).to(like.dtype)
        point = sign * weight / (weight.sum(1, keepdim=True) + spare).clamp_min(_tiny(like))
        return point.view_as(like) * column(self.eps, like)

    def diameter(self, pixels: int, side: float) -> float:
        """Returns the largest distance of two images of so many pixels in a box of this side."""
        return side * pixels


@dataclass(frozen=True, eq=False)
class L0:
    """At most eps entries change, each by as much as the box allows; any size unless told."""

    eps: Radius = math.inf
    name = "L0"
    sparse = True
    entrywise = False
    dual = math.inf  # of a single entry that changes by one
    usual: ClassVar[Mapping[str, float]] = {}
    noise = _normal

    def __post_init__(self) -> None:
        _checked(self.eps)

    def at(self, eps: Radius) -> L0:
        """Returns the ball of the same norm with another radius."""
        return L0(eps)

    def size(self, delta: Tensor) -> Tensor:
        """Returns (N,): how many entries of each sample of delta, (N, *S), are not zero."""
        return (delta.flatten(1) != 0).sum(1).to(delta.dtype)

    def project(self, delta: Tensor) -> Tensor:
        """Returns a nearest point of the ball to each sample of delta, (N, *S): its eps largest entries."""
        flat = delta.flatten(1)
        return (flat * _top(flat.abs(), column(self.eps, flat))).view_as(delta)

    def steepest(self, grad: Tensor) -> Tensor:
        """Returns (N, *S): the move of at most eps entries, each by one, that gains most along grad."""
        flat = grad.flatten(1)
        return (flat.sign() * _top(flat.abs(), column(self.eps, flat))).view_as(grad)

    def sample(self, streams: Streams, like: Tensor) -> Tensor:
        """Returns (N, *S): eps entries of each sample drawn at random, each uniform in [-1, 1]."""
        flat = like.flatten(1)
        chosen = _top(streams.derive("place").uniform(flat), column(self.eps, flat))
        return ((2 * streams.uniform(flat) - 1) * chosen).view_as(like)

    def diameter(self, pixels: int, side: float) -> float:
        """Returns the largest distance of two images of so many pixels in a box of this side."""
        return float(pixels)


def column(value: Radius, like: Tensor) -> Radius:
    """Returns a number as it is, and (N,) as (N, 1, …) that broadcasts against `like`, (N, *S).

    Raises InputError if there is not one value for each sample.
    """
    if not isinstance(value, Tensor):
        return float(value)
    if value.dim() == 0:
        return float(value)
    if value.shape != like.shape[:1]:
        raise InputError(f"expected one value for each of {len(like)} samples, got shape {tuple(value.shape)}")
    return value.to(like).view(-1, *[1] * (like.dim() - 1))


def l1_in_box(delta: Tensor, eps: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Returns the nearest point to each sample of delta, (N, *S), whose L1 norm is at most eps and which is in a box.

    eps: (N,).  low, high: (N, *S), with low <= 0 <= high.
    The magnitudes shrink by one cut for each sample and are capped by the box. What is left of them is piecewise linear
    in the cut; Newton's method finds it on its own piece, and a bracket that bisection narrows keeps it from circling.
    Source: the projection of Croce & Hein 2021 (Mind the box), proposition 2.1, which they find by sorting.
    """
    flat, eps = delta.flatten(1), eps[:, None]
    size = flat.abs()
    cap = torch.where(flat > 0, high.flatten(1), -low.flatten(1))
    below, above = torch.zeros_like(eps), size.amax(1, keepdim=True)
    cut, close = below, 4 * torch.finfo(delta.dtype).eps * eps
    for turn in range(100):
        left = size - cut
        over = torch.minimum(left.clamp_min(0), cap).sum(1, keepdim=True) - eps
        found = (over.abs() <= close) | ((cut == 0) & (over <= 0))
        if bool(found.all()):
            break
        below, above = torch.where(over > 0, cut, below), torch.where(over > 0, above, cut)
        free = torch.where(over > 0, (left > 0) & (left <= cap), (left >= 0) & (left < cap)).sum(1, keepdim=True)
        newton = cut + over / free
        inside = (newton > below) & (newton < above) & (turn % 4 < 3)
        cut = torch.where(found, cut, torch.where(inside, newton, (below + above) / 2))
    else:
        cut = torch.where(found, cut, above)
    kept = torch.minimum((size - cut).clamp_min(0), cap)
    kept *= (eps / kept.sum(1, keepdim=True).clamp_min(_tiny(delta))).clamp_max(1)
    return flat.sign().mul_(kept).view_as(delta)


def _top(value: Tensor, count: Radius) -> Tensor:
    """(N, D) bool: each row's `count` largest entries, a number or (N, 1), rounded down; of equal entries the first."""
    order = value.argsort(dim=1, descending=True, stable=True)
    chosen = torch.arange(1, value.shape[1] + 1, device=value.device) <= count
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, order, chosen.expand_as(order))


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny


def _checked(eps: Radius) -> None:
    value = eps if isinstance(eps, Tensor) else None
    if value is None and (isinstance(eps, bool) or not isinstance(eps, int | float)):
        raise InputError(f"expected eps as a number or a tensor of one for each sample, got {eps!r}")
    if value is not None and value.dim() > 1:
        raise InputError(f"expected eps as a number or (N,), got shape {tuple(value.shape)}")
    as_tensor = torch.as_tensor(eps, dtype=torch.float64)
    wrong = as_tensor[~(as_tensor >= 0)]
    if len(wrong.flatten()):
        raise InputError(f"expected eps >= 0, got {wrong.flatten()[0]:g}: a radius, in the images' units")
