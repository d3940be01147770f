"""PuVAE: an image is replaced by the nearest of its reconstructions as each class."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from steelman.defences import input_checks
from steelman.errors import InputError, unknown

CHOICES = ("nearest", "marginal")
_USE = ("sample", "choice", "temperature")


class Drawn(NamedTuple):
    """Codes q(z | x, class) as normal distributions: mean and logarithm of the standard deviation, (…, latent) each."""

    mean: Tensor
    log_deviation: Tensor

    def sample(self) -> Tensor:
        """Returns a code of each, (…, latent), drawn from torch's generator."""
        return self.mean + self.log_deviation.exp() * torch.randn_like(self.mean)


class PuVAE(nn.Module):
    """Purifies images (N, channels, side, side) in [0, 1] by a variational auto-encoder that is told a class.

    For every class, the encoder reads the image as one of that class, a code is drawn and decoded; the reconstruction
    nearest to the image, by root mean squared error, is the answer. All classes of all images are one batch. It draws
    anew at every call, so that the same image has several answers.

    Source: Hwang et al. 2019 (PuVAE), with codes of 32 numbers. Ours: small layers, and the class comes in
    after the convolutions, which therefore run once for all classes; the authors' net is dilated convolutions of 7×7
    and dense layers of 1,024, which read image and class together.

    side: a multiple of 4.  latent, width: of the networks.
    sample: codes are drawn; without, the mean of each stands for it, and the same image has the same answer.
    choice: "nearest" is the paper's. An attacker's gradient is exact through the reconstruction that is kept, and
    nothing flows through the choice, which is constant almost everywhere. "marginal" answers the mean over classes with
    weights softmax(-error / temperature) instead: smooth, and an attacker's stand-in for the other, as in
    StraightThrough(puvae, backward=puvae.with_settings(choice="marginal")).
    temperature: of that softmax, in units of the error.
    Raises InputError for a setting out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        side: int = 28,
        classes: int = 10,
        latent: int = 32,
        width: int = 24,
        sample: bool = True,
        choice: str = "nearest",
        temperature: float = 0.01,
    ) -> None:
        super().__init__()
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        _check(self.settings)
        self.channels, self.side, self.classes, self.latent = channels, side, classes, latent
        self.sample, self.choice, self.temperature = sample, choice, temperature
        quarter, hidden = side // 4, 4 * width
        self.look = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(width * quarter**2, hidden),
        )
        self.told = nn.Linear(classes, hidden, bias=False)
        self.draw = nn.Sequential(nn.GELU(), nn.Linear(hidden, 2 * latent))
        self.paint = nn.Sequential(
            nn.Linear(latent + classes, width * quarter**2),
            nn.GELU(),
            nn.Unflatten(1, (width, quarter, quarter)),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
        )

    def with_settings(self, **changes: object) -> PuVAE:
        """Returns this defence with the same networks and another use of them: sample, choice or temperature.

        Raises InputError for what would need other networks.
        """
        for name in changes:
            if name not in _USE:
                raise unknown("setting of PuVAE's use", name, _USE)
        with torch.device("meta"):
            other = type(self)(**{**self.settings, **changes})
        for part in ("look", "told", "draw", "paint"):
            setattr(other, part, getattr(self, part))
        return other.train(self.training)

    def backward_approximations(self) -> dict[str, nn.Module]:
        """Returns what an attacker differentiates in its place: the mean over classes, where the choice is hard."""
        return {"class-marginal": self.with_settings(choice="marginal")} if self.choice == "nearest" else {}

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x, self.channels, self.side)
        made = self.reconstructions(x)
        if self.choice == "nearest":
            nearest = self.errors(made.detach(), x.detach()).argmin(1)
            return made[torch.arange(len(x), device=x.device), nearest]
        shares = torch.softmax(-self.errors(made, x) / self.temperature, dim=1)
        mixed: Tensor = torch.einsum("nk,nkchw->nchw", shares, made)
        return mixed.clamp(0, 1)

    def reconstructions(self, x: Tensor) -> Tensor:
        """Returns what each class makes of images, (N, classes, channels, side, side) in [0, 1] of x's dtype."""
        codes = self.codes(x)
        z = codes.sample() if self.sample else codes.mean
        return torch.sigmoid(self.logits(z).to(x.dtype))

    def errors(self, made: Tensor, x: Tensor) -> Tensor:
        """Returns the root mean squared error of every reconstruction, (N, classes, *S), to its image, (N, *S)."""
        squares = (made - x[:, None]).flatten(2).square().mean(2)
        return squares.clamp_min(1e-12).sqrt()  # the slope of a root at zero is infinite

    def codes(self, x: Tensor, y: Tensor | None = None) -> Drawn:
        """Returns the codes of images, (N, latent), each as its class of y, (N,); as every class, (N, classes, latent).

        Their softest standard deviation is e², the sharpest e⁻⁷.
        """
        told = self.told.weight.t()
        seen = self.look(x)
        seen = seen[:, None] + told if y is None else seen + told[y]
        mean, deviation = self.draw(seen).to(x.dtype).chunk(2, dim=-1)
        return Drawn(mean, deviation.clamp(-7, 2))

    def logits(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns the reconstructions of codes before the sigmoid.

        z: (N, latent), each of its class of y, (N,); or (N, classes, latent), one for every class.
        """
        labels = torch.eye(self.classes, dtype=z.dtype, device=z.device)
        labels = labels.expand(len(z), -1, -1) if y is None else labels[y]
        painted: Tensor = self.paint(torch.cat([z, labels], dim=-1).flatten(0, -2))
        return painted.view(*z.shape[:-1], *painted.shape[1:])


def _check(settings: dict[str, object]) -> None:
    for name, low in (("channels", 1), ("classes", 2), ("latent", 1), ("width", 1)):
        value = settings[name]
        if not isinstance(value, int) or value < low:
            raise InputError(f"expected {name} of PuVAE as a whole number from {low}, got {value!r}")
    side = settings["side"]
    if not isinstance(side, int) or side < 4 or side % 4:
        raise InputError(f"expected side of PuVAE as a multiple of 4, got {side!r}: use models.Resized(purifier, 32)")
    if settings["choice"] not in CHOICES:
        raise unknown("choice of PuVAE", str(settings["choice"]), CHOICES)
    temperature = settings["temperature"]
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise InputError(f"expected temperature of PuVAE as a number > 0, got {temperature!r}")
