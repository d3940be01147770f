"""Defense-GAN: an image is replaced by the nearest one that a generator of clean images can make."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from steelman.defences import input_checks
from steelman.errors import InputError, unknown

GRADIENTS = ("identity", "unrolled", "encoder")
_PROJECTION = ("steps", "starts", "rate", "momentum", "tolerance", "power", "gradient", "unroll")

_LOOK = 10
"""Steps after which a pair that stopped falling is looked for."""

_PAIRS = 4096
"""Pairs of an image and a start that are moved at once, so that memory stays bounded."""


class DefenseGAN(nn.Module):
    """Projects (N, channels, side, side) in [0, 1] to what its generator makes: G(z*), with z* near argmin |G(z) - x|².

    z* is the best that gradient descent with momentum finds in `steps` steps from each of `starts` starts, all images
    and starts in one batch. Starts are drawn anew from torch's generator at every call, as the generator's latents are
    in its training; with `encoder`, ours, a network proposes them, a few steps suffice, and an image has one answer.

    Source: Samangouei et al. 2018 (Defense-GAN), section 3 and, for MNIST, L = 200 steps from R = 10 starts; rate 10 on
    the mean over pixels, a tenth of it in the last fifth, and momentum .7 as in the authors' code.
    Ours: latents are few and lie on a sphere, so that the projection cannot leave what the generator was trained on;
    each start keeps its best step, not its last; one that fell by less than the share `tolerance` of its distance in
    ten steps leaves the batch (0: none does).

    side: a multiple of 4.  latent, width: of the generator, and width of the encoder.
    power: of the norm whose square is the distance. The paper's is 2; a high one, ours, looks at the pixels that are
    most off, as suits an attack that may change all of them by the same and none by more.
    gradient: what an attacker who differentiates it gets. "identity" is BPDA (so did Athalye et al. 2018, section
    5.4.2); "unrolled" is exact through the last `unroll` steps, which only the best start takes and which begin anew,
    and takes where they begin as constant; "encoder" lets z* move as the encoder's proposal does: exact if steps = 0.
    Raises InputError for a setting out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        side: int = 28,
        latent: int = 32,
        width: int = 24,
        steps: int = 200,
        starts: int = 10,
        rate: float = 10.0,
        momentum: float = 0.7,
        tolerance: float = 1e-3,
        power: float = 2.0,
        encoder: bool = False,
        gradient: str = "identity",
        unroll: int = 10,
    ) -> None:
        super().__init__()
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        _check(self.settings)
        self.channels, self.side, self.latent = channels, side, latent
        self.steps, self.starts, self.rate, self.momentum = steps, starts, rate, momentum
        self.tolerance, self.power, self.gradient, self.unroll = tolerance, power, gradient, unroll
        self.generator = _generator(channels, side, latent, width)
        self.encoder = _encoder(channels, side, latent * starts, width) if encoder else None

    def with_settings(self, **changes: object) -> DefenseGAN:
        """Returns this defence with the same networks and another projection: more steps, another gradient.

        Raises InputError for what would need other networks, as starts do with an encoder.
        """
        fixed = ("starts",) if self.encoder is not None else ()
        for name in changes:
            if name not in _PROJECTION or name in fixed:
                raise unknown("setting of the projection", name, [it for it in _PROJECTION if it not in fixed])
        with torch.device("meta"):
            other = type(self)(**{**self.settings, **changes})
        other.generator, other.encoder = self.generator, self.encoder
        return other.train(self.training)

    def backward_approximations(self) -> dict[str, nn.Module]:
        """Returns what an attacker differentiates in its place: the same projection, unrolled or detached."""
        ways = [way for way in GRADIENTS if way != self.gradient and (way != "encoder" or self.encoder is not None)]
        words = {"identity": "detached (the identity)", "unrolled": "unrolled", "encoder": "its encoder"}
        return {words[way]: self.with_settings(gradient=way) for way in ways}

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x, self.channels, self.side)
        differentiated = torch.is_grad_enabled() and x.requires_grad
        proposed = self._starts(x)
        with torch.inference_mode(False):
            fixed, begin = x.detach().clone(), proposed.detach().clone()
            tail = min(self.unroll, self.steps) if self.gradient == "unrolled" else 0
            which, z = self._search(fixed, begin, self.steps - tail)
            if tail:
                z = self._unrolled(x if differentiated else fixed, z, tail, graph=differentiated)
        if self.gradient == "encoder" and torch.is_grad_enabled():
            chosen = proposed[torch.arange(len(x), device=x.device), which]
            z = z + (chosen - chosen.detach())
        made: Tensor = self.generator(z).to(x.dtype)
        if self.gradient == "identity" and differentiated:
            made = made + (x - x.detach())
        return made

    def _starts(self, x: Tensor) -> Tensor:
        """(N, starts, latent)."""
        like = next(self.generator.parameters())
        if self.encoder is not None:
            proposed: Tensor = self.encoder(x).to(like.dtype)
            return proposed.view(len(x), self.starts, self.latent)
        return torch.randn(len(x), self.starts, self.latent, device=x.device, dtype=like.dtype)

    def _search(self, x: Tensor, z: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """For each image, which start ends nearest, (N,), and where, (N, latent)."""
        if not steps and z.shape[1] == 1:
            return torch.zeros(len(x), dtype=torch.int64, device=x.device), z[:, 0]
        rows = torch.arange(len(x), device=x.device).repeat_interleave(z.shape[1])
        parts = zip(rows.split(_PAIRS), z.flatten(0, 1).split(_PAIRS), strict=True)
        found = [self._descended(x[row], start, steps) for row, start in parts]
        ends = torch.cat([end for end, _ in found] or [z.flatten(0, 1)]).view_as(z)
        which = torch.cat([distance for _, distance in found] or [z.new_zeros(0)]).view(z.shape[:2]).argmin(1)
        return which, ends[torch.arange(len(x), device=x.device), which]

    def _descended(self, x: Tensor, z: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The nearest point on the way of each pair, (P, latent), and its distance, (P,)."""
        ends, distances = z.clone(), x.new_full((len(z),), math.inf)
        place, velocity = torch.arange(len(z), device=z.device), torch.zeros_like(z)
        best, lowest, before = z, distances.clone(), distances.clone()
        for step in range(steps + 1):
            distance, grad = self._slope(x, z, wanted=step < steps)
            nearer = distance < lowest
            best, lowest = torch.where(nearer[:, None], z, best), torch.where(nearer, distance, lowest)
            if step == steps or (step and step % _LOOK == 0 and self.tolerance):
                ends[place], distances[place] = best, lowest
                left = (lowest < (1 - self.tolerance) * before).nonzero()[:, 0]
                if step == steps or not len(left):
                    break
                if len(left) < len(place):
                    place, x, z, velocity, grad = (part[left] for part in (place, x, z, velocity, grad))
                    best, lowest = best[left], lowest[left]
                before = lowest
            velocity = self.momentum * velocity + grad
            z = z - self._rate(step) * velocity
        return ends, distances

    def _unrolled(self, x: Tensor, z: Tensor, steps: int, *, graph: bool) -> Tensor:
        """Where the last steps lead from z; with a graph back to x if asked."""
        velocity = torch.zeros_like(z)
        for step in range(self.steps - steps, self.steps):
            velocity = self.momentum * velocity + self._slope(x, z, graph=graph)[1]
            z = z - self._rate(step) * velocity
        return z

    def _slope(self, x: Tensor, z: Tensor, *, wanted: bool = True, graph: bool = False) -> tuple[Tensor, Tensor]:
        """The distances of G(z) to x, (P,), and their gradient at z, if wanted."""
        with torch.set_grad_enabled(wanted):
            z = z if graph and z.requires_grad else z.detach().requires_grad_(wanted)
            distance = self._distance(self.generator(z).to(x.dtype), x)
            if not wanted:
                return distance, torch.zeros_like(z)
            (grad,) = torch.autograd.grad(distance.sum(), z, create_graph=graph)
        return distance.detach(), grad

    def _distance(self, made: Tensor, x: Tensor) -> Tensor:
        """The square of the l_power norm of the difference, over pixels that weigh 1 together, (P,)."""
        apart = (made - x).flatten(1)
        if self.power == 2:
            return apart.square().mean(1)
        return apart.abs().pow(self.power).mean(1).clamp_min(1e-30).pow(2 / self.power)

    def _rate(self, step: int) -> float:
        return self.rate if step < math.ceil(0.8 * self.steps) else 0.1 * self.rate


class Sphere(nn.Module):
    """Latents (N, latent) to their directions, of length sqrt(latent), where nearly all of a normal's mass lies."""

    def forward(self, z: Tensor) -> Tensor:
        return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-12)


def _generator(channels: int, side: int, latent: int, width: int) -> nn.Sequential:
    """Latent (N, latent) to images: a layer at a quarter of the side, and two that double it."""
    return nn.Sequential(
        Sphere(),
        nn.Linear(latent, 2 * width * (side // 4) ** 2),
        nn.ReLU(),
        nn.Unflatten(1, (2 * width, side // 4, side // 4)),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
        nn.Sigmoid(),
    )


def _encoder(channels: int, side: int, out: int, width: int) -> nn.Sequential:
    """Images to (N, out)."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(2 * width * math.ceil(side / 8) ** 2, out),
    )


def _check(settings: dict[str, object]) -> None:
    least = {"channels": 1, "latent": 1, "width": 1, "steps": 0, "starts": 1, "unroll": 1}
    for name, low in least.items():
        value = settings[name]
        if not isinstance(value, int) or value < low:
            raise InputError(f"expected {name} of DefenseGAN as a whole number from {low}, got {value!r}")
    side = settings["side"]
    if not isinstance(side, int) or side < 4 or side % 4:
        raise InputError(
            f"expected side of DefenseGAN as a multiple of 4, got {side!r}: use models.Resized(purifier, 32)"
        )
    for name, high in (("rate", math.inf), ("momentum", 1.0), ("tolerance", 1.0)):
        value = settings[name]
        if not isinstance(value, int | float) or not 0 <= value < high:
            raise InputError(f"expected {name} of DefenseGAN in [0, {high:g}), got {value!r}")
    power = settings["power"]
    if not isinstance(power, int | float) or not 1 < power <= 64:
        raise InputError(f"expected power of DefenseGAN in (1, 64], got {power!r}: 2 is the paper's")
    if settings["gradient"] not in GRADIENTS:
        raise unknown("gradient of DefenseGAN", str(settings["gradient"]), GRADIENTS)
    if settings["gradient"] == "encoder" and not settings["encoder"]:
        raise InputError("expected encoder=True with gradient='encoder', got none: say gradient='identity'")
