"""Patches: a small piece of the image that may be anything, one for all images or one for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from steelman.attacks.attack import Attack
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks, Probe, Problem, take
from steelman.attacks.learnt import Universal, in_order
from steelman.attacks.settings import count, positive, share
from steelman.errors import InputError
from steelman.losses import cross_entropy
from steelman.norms import L0, Ball
from steelman.streams import Streams
from steelman.threat import Threat


@dataclass(frozen=True, kw_only=True)
class Sticker:
    """Learns one round patch that breaks most images wherever it is stuck, turned and seen from near or far.

    area: of the patch, as a share of the image's.  rotation: degrees to each side.  scales: the smallest and largest
    factor that its width is seen at.
    steps, batch, rate: of Adam.  clip: the cross-entropy beyond which an image counts no more.
    """

    area: float
    rotation: float
    scales: tuple[float, float]
    steps: int
    batch: int
    rate: float
    clip: float

    def learn(self, oracle: Oracle) -> Tensor:
        """Returns (C, side, side): the patch, of which the inscribed disk is seen.

        Raises InputError for what is no image, or for a patch that does not fit into one.
        """
        problem = oracle.problem
        _images(problem.x)
        low, high = problem.threat.low, problem.threat.high
        side = math.ceil(self._width(problem.x) * self.scales[1])
        patch = problem.x.new_full((problem.x.shape[1], side, side), (low + high) / 2)
        mean, square = torch.zeros_like(patch), torch.zeros_like(patch)
        rows, turn = in_order(problem, 0), 0
        for step in range(self.steps):
            if len(rows) < min(self.batch, len(problem.x)):
                turn += 1
                rows = torch.cat([rows, in_order(problem, turn)])
            now, rows = rows[: self.batch], rows[self.batch :]
            grad = self._gradient(oracle, now, patch, step)
            mean, square = mean.lerp(grad, 0.1), square.lerp(grad**2, 0.001)
            way = (mean / (1 - 0.9 ** (step + 1))) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-12)
            patch = (patch + self.rate * (high - low) * way).clamp(low, high)
        return patch

    def shown(self, change: Tensor, problem: Problem) -> Tensor:
        """Returns (N, C, H, W): the images with the patch where each one's own stream puts it.

        Raises InputError for what is no image.
        """
        _images(problem.x)
        return self._stuck(problem.x, change, problem.streams.derive("shown"))

    def _gradient(self, oracle: Oracle, rows: Tensor, patch: Tensor, step: int) -> Tensor:
        total = torch.zeros_like(patch)
        for part in rows.split(oracle.slots):
            own = take(oracle.problem, part)
            streams = own.streams.derive("learning").derive(step)

            def ascend(logits: Tensor, own: Problem = own) -> Tensor:
                return own.sign * cross_entropy(logits, own.y).clamp(max=self.clip)

            with torch.enable_grad():
                free = patch.detach().requires_grad_()
                stuck = self._stuck(own.x, free, streams)
                _, _, grad = oracle.answer(part, own, stuck.detach(), torch.full_like(part, step), ascend)
                total += torch.autograd.grad(stuck, free, grad)[0]
        return total / len(rows)

    def _stuck(self, x: Tensor, patch: Tensor, streams: Streams) -> Tensor:
        """The patch in a place, a turn and a size that are drawn for each image; all of it is inside."""
        n, _, height, width = x.shape
        drawn = streams.uniform(x.new_empty(n, 4))
        angle = (2 * drawn[:, 0] - 1) * self.rotation * (math.pi / 180)
        small, large = self.scales
        size = self._width(x) * (small + (large - small) * drawn[:, 1])
        middle = [(2 * drawn[:, 2 + at] - 1) * (1 - size / side).clamp_min(0) for at, side in ((0, width), (1, height))]
        cos, sin = angle.cos() / size, angle.sin() / size
        turn = torch.stack([cos * width, sin * height, -sin * width, cos * height], 1).view(n, 2, 2)
        theta = torch.cat([turn, -turn @ torch.stack(middle, 1)[:, :, None]], 2)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        inside = (grid.square().sum(3) <= 1)[:, None]
        seen = F.grid_sample(patch.expand(n, -1, -1, -1), grid, padding_mode="border", align_corners=False)
        return torch.where(inside, seen, x)

    def _width(self, x: Tensor) -> float:
        """Of the disk, in pixels."""
        width = 2 * math.sqrt(self.area * x.shape[2] * x.shape[3] / math.pi)
        if width * self.scales[1] > min(x.shape[2:]):
            raise InputError(
                f"expected a patch that fits into images of {x.shape[2]}×{x.shape[3]}, got one {width:.1f} pixels wide "
                f"that grows by {self.scales[1]:g}: say a smaller area or scales"
            )
        return width


@dataclass(frozen=True, kw_only=True)
class Localised:
    """Steepest ascent on the pixels of a square that is each sample's own and elsewhere at each attempt.

    area: of the square, as a share of the image's.  size: of a step, as a share of the box.
    """

    steps: int
    size: float
    area: float

    asks: ClassVar[Asks] = Asks.GRADIENTS
    from_input: ClassVar[bool] = False

    def start(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Returns the images with noise in the square, and the square, (N, 1, H, W), one inside.

        Raises InputError for what is no image.
        """
        x, threat = problem.x, problem.threat
        _images(x)
        side = max(1, round(math.sqrt(self.area * x.shape[2] * x.shape[3])))
        drawn = problem.streams.derive("place").uniform(x.new_empty(len(x), 2))
        square = x.new_ones(len(x), 1, *x.shape[2:])
        for at, whole in enumerate(x.shape[2:]):
            first = (drawn[:, at] * (max(0, whole - side) + 1)).floor()[:, None]
            line = torch.arange(whole, device=x.device)
            inside = (line >= first) & (line < first + side)
            square = square * inside[:, None].unsqueeze(3 if at == 0 else 2)
        noise = threat.low + (threat.high - threat.low) * problem.streams.derive("noise").uniform(x)
        return torch.where(square > 0, noise, x), square

    def move(self, problem: Problem, state: Tensor, probe: Probe) -> tuple[Tensor, Tensor]:
        """Returns the next candidates, changed inside the square alone."""
        low, high = problem.threat.low, problem.threat.high
        step = self.size * (high - low) * probe.grad.sign()
        return torch.where(state > 0, (probe.x + step).clamp(low, high), probe.x), state


def patch(
    threat: Threat | Ball | None = None,
    *,
    area: float = 0.05,
    rotation: float = 22.5,
    scales: tuple[float, float] = (0.8, 1.2),
    steps: int = 250,
    batch: int = 64,
    rate: float = 0.05,
    targeted: bool = False,
) -> Universal:
    """Returns the adversarial patch: one round sticker that is learnt on all images of a call.

    For images (N, C, H, W). It is seen at a random place, turn and size on each image, in learning and when it is
    judged, there once. Targeted, the labels are the classes to reach, in the paper one for all. Its distance counts the
    entries that differ.
    area: of the patch, as a share of the image's.  rotation: degrees to each side.  scales: the smallest and largest
    factor that its width is seen at.
    steps, batch, rate: of Adam, the rate as a share of the box.
    threat: a box or a grid of levels beside [0, 1].
    Raises InputError for settings out of range; when called, for a patch that does not fit.
    Source: Brown et al. 2017 (Adversarial patch), section 2, whose code turns by 22.5 degrees; the paper tries areas
    up to half of the image, the other numbers are ours.
    """
    if len(scales) != 2 or not 0 < positive(scales[0], "scales") <= positive(scales[1], "scales"):
        raise InputError(f"expected scales as (smallest, largest), got {scales!r}")
    if isinstance(rotation, bool) or not isinstance(rotation, int | float) or not 0 <= rotation <= 180:
        raise InputError(f"expected rotation as a number in [0, 180], got {rotation!r}")
    learner = Sticker(
        area=positive(share(area, "area"), "area"),
        rotation=float(rotation),
        scales=(float(scales[0]), float(scales[1])),
        steps=count(steps),
        batch=count(batch, "batch"),
        rate=positive(rate, "rate"),
        clip=9.0,
    )
    return Universal(name="patch", threat=_boxed(threat), learner=learner, targeted=targeted)


def lavan(
    threat: Threat | Ball | None = None,
    *,
    area: float = 0.02,
    steps: int = 100,
    size: float = 0.1,
    restarts: int = 5,
    targeted: bool = False,
) -> Attack:
    """Returns localised and visible noise: a square of any pixels in each image, in one place after another.

    For images (N, C, H, W). Its distance counts the entries that differ.
    area: of the square, as a share of the image's.  size: of a step, as a share of the box.  restarts: places tried.
    threat: a box or a grid of levels beside [0, 1].
    Raises InputError for settings out of range.
    Source: Karmon, Zoran & Goldberg 2018 (LaVAN), section 3 and its 2 % of the image; signed steps and places at random
    are ours.
    """
    rule = Localised(steps=count(steps), size=positive(size, "size"), area=positive(share(area, "area"), "area"))
    return Attack(
        name="lavan", threat=_boxed(threat), rule=rule, targeted=targeted, restarts=count(restarts, "restarts")
    )


def _boxed(threat: Threat | Ball | None) -> Threat:
    threat = Threat(L0()) if threat is None else Threat.of(threat)
    if not math.isfinite(threat.high - threat.low):
        raise InputError(f"expected a box for a patch, got [{threat.low:g}, {threat.high:g}]: say low and high")
    return threat


def _images(x: Tensor) -> None:
    if x.dim() != 4:
        raise InputError(f"expected images of shape (N, C, H, W) for a patch, got {tuple(x.shape)}")
