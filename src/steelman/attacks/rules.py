"""Rules that move inside a budget, with their starts and step sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from steelman.attacks.problem import Probe, Problem
from steelman.attacks.reprs import by_name
from steelman.norms import Radius, column

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


@dataclass(frozen=True, kw_only=True)
class Steepest:
    """Projected steepest ascent; FGSM, BIM and PGD are this rule with other numbers."""

    steps: int
    size: Schedule
    start_at: Start = at_input

    __repr__ = by_name

    @property
    def from_input(self) -> bool:
        """Whether it starts at the clean image."""
        return self.start_at is at_input

    def start(self, problem: Problem) -> tuple[Tensor, tuple[()]]:
        """Returns the first candidates; there is no state."""
        return self.start_at(problem), ()

    def move(self, problem: Problem, state: tuple[()], probe: Probe) -> tuple[Tensor, tuple[()]]:
        """Returns the next candidates: a step up the gradient, then back into the threat."""
        assert probe.grad is not None
        step = problem.threat.steepest(probe.grad, at=probe.x).mul_(column(self.size(problem, probe.k), probe.x))
        return problem.threat.project(step.add_(probe.x), around=problem.x), state
