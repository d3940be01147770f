"""Where attacks start, and how large their steps are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from steelman.attacks.engine.problem import Problem
from steelman.norms import Radius, column

Schedule = Callable[[Problem, Tensor], Radius]
Start = Callable[[Problem], Tensor]

_PARTS = (4, 7, 3, 5, 2)


def at_input(problem: Problem) -> Tensor:
    """Returns the clean images themselves."""
    return problem.x.clone()


def at_random(problem: Problem) -> Tensor:
    """Returns an image drawn uniformly from each sample's ball, clipped to the box."""
    return problem.threat.sample(problem.streams.derive("start"), around=problem.x)


def at_corner(problem: Problem) -> Tensor:
    """Returns an image of which every value is eps above or below the clean one's, at random, clipped to the box."""
    sign = problem.streams.derive("start").uniform(problem.x).sub_(0.5).sign_()
    move = torch.where(sign == 0, 1, sign) * column(problem.threat.eps, problem.x)
    return problem.threat.project(problem.x + move, around=problem.x)


def at_blocks(problem: Problem) -> Tensor:
    """Returns an image on the sphere of each ball that is lighter or darker in blocks, at random, clipped to the box.

    Blocks have a quarter of the image's side, and at later attempts a seventh, a third, a fifth and a half. Where a
    gradient says little they lead on where single pixels do not, as they do for Square (Andriushchenko et al. 2020).
    Without two axes to have blocks in, and in sparse norms, a random image of the ball.
    """
    x = problem.x
    if x.dim() < 3 or problem.threat.ball.sparse:
        return at_random(problem)
    grid = problem.streams.derive("start").uniform(x[..., :8, :8]) < 0.5
    moved = torch.empty_like(x)
    for at, parts in enumerate(_PARTS):
        own = problem.attempt % len(_PARTS) == at
        if bool(own.any()):
            down, across = (torch.arange(n, device=x.device) * min(parts, 8, n) // n for n in x.shape[-2:])
            moved[own] = torch.where(grid[own][..., down, :][..., across], 1.0, -1.0).to(x.dtype)
    step = problem.threat.ball.steepest(moved) * column(problem.threat.eps, x)
    return problem.threat.project(x + step, around=x)


def at_given(problem: Problem) -> Tensor:
    """Returns the images that the attack was called with as `begin`, brought into each sample's threat."""
    return problem.threat.project(problem.begin, around=problem.x)


@dataclass(frozen=True)
class Fixed:
    """Steps of one size, in the images' units."""

    size: float

    def __call__(self, problem: Problem, k: Tensor) -> Radius:
        """Returns the size of each sample's next step."""
        return self.size


@dataclass(frozen=True)
class OfEps:
    """Steps of one share of each sample's eps."""

    share: float

    def __call__(self, problem: Problem, k: Tensor) -> Radius:
        """Returns the size of each sample's next step."""
        return self.share * problem.threat.eps
