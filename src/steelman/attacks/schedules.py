"""Where attacks start, and how large their steps are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from steelman.attacks.problem import Problem
from steelman.norms import Radius, column

Schedule = Callable[[Problem, Tensor], Radius]
Start = Callable[[Problem], Tensor]


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
