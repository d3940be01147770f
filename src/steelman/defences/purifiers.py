"""Purifiers: auto-encoders that go in front of a classifier, (N, C, H, W) in [0, 1] to the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks


class ConvAutoencoder(nn.Module):
    """The paper's auto-encoder: (N, channels, 32, 32) in [0, 1] to the same, through a code of ten numbers.

    Standard normal noise is added to the code, in training and in use, so that it answers differently twice.
    Source: arXiv 2312.03520, section 3.3, with the layers of its code.
    """

    side = 32

    def __init__(self, channels: int = 1, code: int = 10, noise: float = 1.0) -> None:
        super().__init__()
        self.settings = {"channels": channels, "code": code, "noise": noise}
        self.noise = noise
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(288, 128),
            nn.GELU(),
            nn.Linear(128, code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, 128),
            nn.GELU(),
            nn.Linear(128, 288),
            nn.GELU(),
            nn.Unflatten(1, (32, 3, 3)),
            nn.ConvTranspose2d(32, 16, 3, stride=2, output_padding=1),
            nn.BatchNorm2d(16),
            nn.GELU(),
            nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(8),
            nn.GELU(),
            nn.ConvTranspose2d(8, channels, 3, stride=2, padding=1, output_padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x, self.settings["channels"], self.side)
        return self.reconstructed(x)

    def reconstructed(self, x: Tensor) -> Tensor:
        """Returns what it makes of (N, channels, 32, 32) in any range, as the paper's PGD leaves [0, 1]."""
        code = self.encoder(x)
        out: Tensor = self.decoder(code + self.noise * torch.randn_like(code))
        return out


class UNetPurifier(nn.Module):
    """Ours: a U-shaped convolutional auto-encoder, (N, channels, H, W) in [0, 1] to the same, any H and W.

    Pixels are folded 2×2 into channels at once, so that no layer works at full size; the code is a quarter of the side.
    Every pixel is painted anew, kept, or mixed of both, so that a clean image can pass as it is.
    GELU throughout; Gaussian noise on the code while it trains, none in use, where it is deterministic.
    """

    def __init__(self, channels: int = 1, width: int = 32, code: int = 128, depth: int = 3, noise: float = 0.1) -> None:
        super().__init__()
        self.settings = {"channels": channels, "width": width, "code": code, "depth": depth, "noise": noise}
        self.noise = noise
        self.enter = nn.Conv2d(4 * channels, width, 3, padding=1)
        self.fine = nn.Conv2d(width, width, 3, padding=1)
        self.down = nn.Conv2d(width, code, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList(nn.Conv2d(code, code, 3, padding=1) for _ in range(depth))
        self.up = nn.ConvTranspose2d(code, width, 2, stride=2)
        self.merge = nn.Conv2d(2 * width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 8 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x, self.settings["channels"])
        height, width = x.shape[-2:]
        if height % 4 or width % 4:
            x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        fine = F.gelu(self.enter(F.pixel_unshuffle(x, 2)))
        fine = fine + F.gelu(self.fine(fine))
        code = F.gelu(self.down(fine))
        for layer in self.coarse:
            code = code + F.gelu(layer(code))
        if self.training and self.noise:
            code = code + self.noise * torch.randn_like(code)
        merged = F.gelu(self.merge(torch.cat([fine, F.gelu(self.up(code))], dim=1)))
        painted, kept = torch.sigmoid(F.pixel_shuffle(self.leave(merged), 2)).chunk(2, dim=1)
        return torch.lerp(painted, x.to(painted), kept)[..., :height, :width]
