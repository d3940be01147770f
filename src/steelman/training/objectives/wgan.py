"""A generator against a critic: what a Defense-GAN is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from steelman.defences import DefenseGAN
from steelman.errors import InputError
from steelman.training.checkpoint import Examples
from steelman.training.objectives.purify import Purify


class Rivals(nn.Module):
    """A defence whose generator learns, the critic that it learns from, and how many steps they took together."""

    taken: Tensor

    def __init__(self, defence: DefenseGAN, width: int = 32) -> None:
        super().__init__()
        self.defence = defence
        self.critic = nn.Sequential(
            nn.Conv2d(defence.channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * width * (defence.side // 4) ** 2, 1),
        )
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))


@dataclass(frozen=True, kw_only=True)
class WassersteinGAN:
    """The critic learns to tell images from made ones, `critic_steps` times; then the generator, to please it.

    Examples are (image, …). One of the two takes every step, and the other gets no gradient.
    Judged by `judge` on the defence with few steps of projection.

    penalty: weight of (|gradient of the critic| - 1)², at points drawn between an image and a made one.
    judge: whose validation figures are taken.  projection: changes to the defence while it is judged.
    Raises InputError for numbers out of their range.
    Source: Gulrajani et al. 2017, algorithm 1, with its five steps and its penalty of 10.
    """

    judge: Purify
    critic_steps: int = 5
    penalty: float = 10.0
    projection: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if self.critic_steps < 1 or self.penalty < 0:
            raise InputError(f"expected critic_steps >= 1 and penalty >= 0, got {self.critic_steps} and {self.penalty}")

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the critic's loss on a batch at `critic_steps` of `critic_steps` + 1 steps, else the generator's."""
        rivals, x = cast(Rivals, model), batch[0]
        turn = int(rivals.taken) % (self.critic_steps + 1)
        rivals.taken += 1
        z = torch.randn(len(x), rivals.defence.latent, device=x.device)
        if turn == self.critic_steps:
            fixed = {name: parameter.detach() for name, parameter in rivals.critic.named_parameters()}
            pleased: Tensor = functional_call(rivals.critic, fixed, (rivals.defence.generator(z),)).float().mean()
            return -pleased
        with torch.no_grad():
            made = rivals.defence.generator(z).to(x.dtype)
        seen: Tensor = rivals.critic(torch.cat([made, x])).float()
        return seen[: len(x)].mean() - seen[len(x) :].mean() + self.penalty * _steepness(rivals.critic, made, x)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the judge's figures of the defence, with few steps."""
        defence = cast(Rivals, model).defence
        return self.judge.validate(defence.with_settings(**(self.projection or {})), validation)


def _steepness(critic: nn.Module, made: Tensor, x: Tensor) -> Tensor:
    """The mean of (|gradient| - 1)² at points between made images and real ones."""
    share = torch.rand(len(x), 1, 1, 1, device=x.device)
    between = torch.lerp(x, made, share).requires_grad_()
    (grad,) = torch.autograd.grad(critic(between).float().sum(), between, create_graph=True)
    off: Tensor = (grad.flatten(1).norm(dim=1) - 1).square().mean()
    return off
