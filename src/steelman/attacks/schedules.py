"""Where attacks start, and how large their steps are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from steelman.attacks.problem import Problem
from steelman.norms import Radius

Schedule = Callable[[Problem, Tensor], Radius]
Start = Callable[[Problem], Tensor]


def at_input(problem: Problem) -> Tensor:
    """Returns the clean images themselves."""
    return problem.x.clone()


def at_random(problem: Problem) -> Tensor:
    """Returns an image drawn uniformly from each sample's ball, clipped to the box."""
    return problem.threat.sample(problem.streams.derive("start"), around=problem.x)


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
