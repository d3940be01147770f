"""A purifier that says how sure it is: an ensemble of small auto-encoders that each tell their error."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks
from steelman.errors import InputError

_LEAST = 0.01
"""The smallest standard deviation that a member can give, so that no likelihood runs off to infinity."""


class BayesianAutoencoder(nn.Module):
    """Ours: (N, channels, H, W) in [0, 1] to the same and an uncertainty for each image, any H and W.

    An ensemble of `members` small U-shaped auto-encoders that share no weight. Each gives, for every pixel of the clean
    image, a normal distribution: its mean and its standard deviation. The predictive distribution is their even
    mixture: its mean is what goes on to the classifier, its standard deviation the uncertainty, which is both the noise
    that the members tell and how far they disagree. All run as one network of grouped convolutions. Deterministic in
    use; Gaussian noise on the codes while it trains.

    width, code, depth: of each member, as in `UNetPurifier`.
    Source: ensembles of networks that give mean and variance, Lakshminarayanan et al. 2017 (Deep ensembles), sections
    2.2 and 2.4; noise and disagreement told apart, Kendall & Gal 2017, eq. 9. The members' layers are ours. arXiv
    2312.03520 names a Bayesian auto-encoder as future work.
    """

    def __init__(
        self, channels: int = 1, members: int = 4, width: int = 16, code: int = 32, depth: int = 2, noise: float = 0.1
    ) -> None:
        super().__init__()
        for name, value in (("members", members), ("width", width), ("code", code)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"expected {name} as a whole number from 1, got {value!r}")
        self.settings = {
            "channels": channels,
            "members": members,
            "width": width,
            "code": code,
            "depth": depth,
            "noise": noise,
        }
        self.channels, self.members, self.noise = channels, members, noise
        wide, deep = members * width, members * code
        self.enter = nn.Conv2d(4 * channels, wide, 3, padding=1)
        self.down = nn.Conv2d(wide, deep, 3, stride=2, padding=1, groups=members)
        coarse = [nn.Conv2d(deep, deep, 3, padding=1, groups=members) for _ in range(depth)]
        self.coarse = nn.ModuleList(coarse)
        self.up = nn.Conv2d(deep, 4 * wide, 1, groups=members)
        self.merge = nn.Conv2d(wide, wide, 3, padding=1, groups=members)
        self.leave = nn.Conv2d(wide, members * 12 * channels, 3, padding=1, groups=members)
        for layer in (self.enter, self.down, *coarse, self.up, self.merge):
            _start(layer, 0.5 if layer in coarse else 1.0)
        assert self.leave.bias is not None
        with torch.no_grad():  # untrained, it hands the image on
            self.leave.bias.view(members, 3, -1)[:, 1] += 3

    def forward(self, x: Tensor) -> Tensor:
        """Returns the mean reconstruction, (N, channels, H, W) in [0, 1]."""
        return self.answers(x)[0].mean(1)

    def uncertainty(self, x: Tensor) -> Tensor:
        """Returns the predictive standard deviation of the clean image, (N,) in grey levels of [0, 1].

        It is the root of the predictive variance's mean over pixels and channels.
        """
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (purified, uncertainty) of one pass: (N, channels, H, W) and (N,)."""
        means, deviations = self.answers(x)
        told, disagreement = deviations.square().mean(1), means.var(1, correction=0)
        return means.mean(1), (told + disagreement).flatten(1).mean(1).sqrt()

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the members' (means, standard deviations), each (N, members, channels, H, W).

        Means lie in [0, 1], standard deviations in [.01, 1].
        """
        input_checks.check(self, x, self.channels)
        height, width = x.shape[-2:]
        if height % 4 or width % 4:
            x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        fine = F.gelu(self.enter(F.pixel_unshuffle(x, 2)))
        code = F.gelu(self.down(fine))
        for layer in self.coarse:
            code = code + F.gelu(layer(code))
        if self.training and self.noise:
            code = code + self.noise * torch.randn_like(code)
        merged = F.gelu(self.merge(fine + F.pixel_shuffle(F.gelu(self.up(code)), 2)))
        out = torch.sigmoid(F.pixel_shuffle(self.leave(merged), 2))[..., :height, :width]
        painted, kept, scale = out.unflatten(1, (self.members, 3, self.channels)).unbind(2)
        given = x[:, None, :, :height, :width].to(painted)
        return torch.lerp(painted, given, kept), torch.exp(math.log(_LEAST) * scale)


def _start(layer: nn.Conv2d, gain: float) -> None:
    """Draws weights that keep a signal's size times `gain`, which torch's own do not."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight.mul_(gain)
