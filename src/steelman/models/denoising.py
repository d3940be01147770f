"""Denoising of features inside a network: weighted means and medians over places, behind a residual connection."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.errors import InputError, unknown

OPERATIONS = ("nonlocal-softmax", "nonlocal-dot", "bilateral", "mean", "median", "null")
"""What a denoising block can do; "null" denoises nothing, and leaves the 1×1 convolution that others have too."""

SIDE = 3
"""Of the window of the local operations."""

_REACH = SIDE // 2


class DenoisingBlock(nn.Module):
    """Features (N, channels, H, W) to denoised ones: x + norm(convolution(denoise(x))), the convolution 1×1.

    operation: one of `OPERATIONS`.
    embed: whether what a softmax or a product compares are 1×1 embeddings of the features in half the channels, and
    not the features; unless told it is so under a softmax alone. Other operations compare nothing.
    The batch norm starts with scale 0, so that an untrained block leaves everything as it is.
    Raises InputError for another operation, and for embeddings that an operation has no use for.
    Source: Xie et al. 2019 (Feature Denoising for Improving Adversarial Robustness), section 4 and figure 4; batch
    norm, its scale of 0 and the embeddings' initial deviation of .01 stand in its code alone.
    """

    def __init__(self, channels: int, operation: str = "nonlocal-softmax", embed: bool | None = None) -> None:
        super().__init__()
        self.operation = operation
        self.denoise = _operation(channels, operation, embed)
        self.convolution = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.norm(self.convolution(self.denoise(x)))
        return out


class NonLocal(nn.Module):
    """Each place's mean over all places of the image, weighted by how much their features resemble its own.

    softmax: weights exp(a · b / √d), which add up to 1; else a · b over the number of places.
    Source: Xie et al. 2019, section 4.1, non-local means.
    """

    def __init__(self, channels: int, *, softmax: bool, embed: bool) -> None:
        super().__init__()
        self.softmax = softmax
        self.embedded = _Embedded(channels, embed)

    def forward(self, x: Tensor) -> Tensor:
        own, other = (part.flatten(2) for part in self.embedded(x))
        weighted = _attended if self.softmax else _summed
        return weighted(own, other, x.flatten(2)).view_as(x)


class Bilateral(nn.Module):
    """Each place's mean over its 3×3 window, weighted by a softmax over how much their features resemble its own.

    Places outside the image do not count.
    Source: Xie et al. 2019, section 4.1, bilateral filter, Gaussian version.
    """

    def __init__(self, channels: int, *, embed: bool) -> None:
        super().__init__()
        self.embedded = _Embedded(channels, embed)

    def forward(self, x: Tensor) -> Tensor:
        own, other = self.embedded(x)
        alike = (own[:, :, None] * _windows(_ringed(other))).sum(1) / own.shape[1] ** 0.5
        inside = _windows(_ringed(torch.ones_like(x[:1, :1])))[:, 0] > 0
        weights = alike.masked_fill(~inside, -torch.inf).softmax(1)
        found: Tensor = (weights[:, None] * _windows(_ringed(x))).sum(2)
        return found


class Median(nn.Module):
    """Each value's median over its 3×3 window, channel by channel; the image goes on beyond its edge as it ends.

    Source: Xie et al. 2019, section 4.1, median filter; it does not say what is beyond the edge.
    """

    def forward(self, x: Tensor) -> Tensor:
        beyond = F.pad(x, (_REACH,) * 4, mode="replicate")
        return _windows(beyond).median(2).values


class _Embedded(nn.Module):
    """The two views of the features that are compared: 1×1 embeddings, or the features themselves."""

    def __init__(self, channels: int, embed: bool) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.theta = nn.Conv2d(channels, inner, 1, bias=False) if embed else nn.Identity()
        self.phi = nn.Conv2d(channels, inner, 1, bias=False) if embed else nn.Identity()
        for layer in (self.theta, self.phi):
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.theta(x), self.phi(x)


def _operation(channels: int, operation: str, embed: bool | None) -> nn.Module:
    if operation not in OPERATIONS:
        raise unknown("denoising operation", operation, OPERATIONS)
    if operation == "nonlocal-softmax":
        return NonLocal(channels, softmax=True, embed=embed is not False)
    if operation == "nonlocal-dot":
        return NonLocal(channels, softmax=False, embed=embed is True)
    if operation == "bilateral":
        return Bilateral(channels, embed=embed is not False)
    if embed:
        raise InputError(f"expected no embeddings for {operation}, which compares nothing: leave out embed")
    if operation == "mean":
        return nn.AvgPool2d(SIDE, stride=1, padding=_REACH, count_include_pad=False)
    return Median() if operation == "median" else nn.Identity()


def _attended(own: Tensor, other: Tensor, values: Tensor) -> Tensor:
    """(N, C, L): values averaged with the softmax of own · other / √d, all of (N, ·, L)."""
    query, key, value = (part.transpose(1, 2)[:, None] for part in (own, other, values))
    # of one width, no L×L matrix need ever be held; zeros change no product
    query, key = (F.pad(part, (0, values.shape[1] - part.shape[-1])) for part in (query, key))
    found = F.scaled_dot_product_attention(query, key, value, scale=own.shape[1] ** -0.5)
    return found[:, 0].transpose(1, 2).contiguous()


def _summed(own: Tensor, other: Tensor, values: Tensor) -> Tensor:
    """(N, C, L): values summed with weights own · other / L, in the cheaper of two orders."""
    (inner, places), channels = own.shape[1:], values.shape[1]
    if places * (inner + channels) < 2 * inner * channels:
        return values @ (other.transpose(1, 2) @ own) / places
    return (values @ other.transpose(1, 2) / places) @ own


def _ringed(x: Tensor) -> Tensor:
    return F.pad(x, (_REACH,) * 4)


def _windows(x: Tensor) -> Tensor:
    """(N, C, H + 2, W + 2) to (N, C, 9, H, W): what stands around each place."""
    height, width = x.shape[-2] - 2 * _REACH, x.shape[-1] - 2 * _REACH
    views = [x[..., i : i + height, j : j + width] for i in range(SIDE) for j in range(SIDE)]
    return torch.stack(views, 2)
