"""One random stream for each sample: a counter-based generator that no batch, order or shard can change."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131


class Streams(NamedTuple):
    """Keys of N streams; what a sample draws depends on its own key alone.

    key: (N,), int64.
    """

    key: Tensor

    @classmethod
    def of(cls, seed: int, indices: Tensor) -> Streams:
        """Returns the streams of the samples with these indices, (N,) int64, under one seed."""
        salt = torch.tensor(_word(f"seed {seed}"), dtype=torch.int64, device=indices.device)
        return cls(_mix(_mix(indices.long() * _GOLDEN + salt) ^ salt))

    def derive(self, purpose: str | int | Tensor) -> Streams:
        """Returns streams for one purpose, independent of those for others.

        purpose: a word, a number, or (N,) int64, one counter for each sample.
        """
        if isinstance(purpose, Tensor):
            return Streams(_mix(self.key + _mix(purpose * _GOLDEN + 1)))
        return Streams(_mix(self.key + _word(str(purpose))))

    def bits(self, lanes: int) -> Tensor:
        """Returns (N, lanes), int64: 64 random bits in each place."""
        lane = torch.arange(1, lanes + 1, device=self.key.device) * _GOLDEN
        return _mix(self.key[:, None] + lane)

    def uniform(self, like: Tensor) -> Tensor:
        """Returns a tensor of the shape, type and device of `like`, (N, *S), uniform in [0, 1).

        As many random bits as the type holds exactly, so that none rounds up to 1.
        """
        digits = 1 - round(math.log2(torch.finfo(like.dtype).eps))
        unit = self.bits(math.prod(like.shape[1:])) >> 64 - digits & (1 << digits) - 1
        return unit.to(like).view(like.shape) / (1 << digits)

    def normal(self, like: Tensor) -> Tensor:
        """Returns a tensor of the shape, type and device of `like`, (N, *S), standard normal (Box-Muller)."""
        radius = torch.sqrt(-2 * torch.log1p(-self.derive("normal radius").uniform(like)))
        return radius * torch.cos(2 * math.pi * self.derive("normal angle").uniform(like))

    def below(self, bound: int, like: Tensor) -> Tensor:
        """Returns int64 of the shape of `like`, (N, *S), uniform in [0, bound)."""
        lanes = math.prod(like.shape[1:])
        return ((self.bits(lanes) >> 1 & (1 << 62) - 1) % bound).to(like.device).view(like.shape)


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser on wrapping int64.

    Source: Steele, Lea & Flood 2014, figure 16 (variant 13 of Stafford).
    """
    z = (z ^ (z >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
    z = (z ^ (z >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
    return z ^ (z >> 31 & 0x1FFFFFFFF)


def _word(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
