"""Attacks on image classifiers: one catalogue, one engine."""

from __future__ import annotations

from collections.abc import Callable

from steelman.attacks.attack import Attack, Result
from steelman.attacks.engine import Progress
from steelman.attacks.goals import Break, Last, Nearest, Worst
from steelman.attacks.gradients import averaged, exact
from steelman.attacks.problem import Probe, Problem, Rule
from steelman.attacks.recipes import bim, fgsm, pgd
from steelman.attacks.rules import Fixed, OfEps, Steepest, at_given, at_input, at_random
from steelman.errors import unknown

__all__ = [
    "Attack",
    "Break",
    "Fixed",
    "Last",
    "Nearest",
    "OfEps",
    "Probe",
    "Problem",
    "Progress",
    "Result",
    "Rule",
    "Steepest",
    "Worst",
    "at_given",
    "at_input",
    "at_random",
    "averaged",
    "bim",
    "catalogue",
    "exact",
    "fgsm",
    "named",
    "pgd",
]

catalogue: dict[str, Callable[..., Attack]] = {"fgsm": fgsm, "bim": bim, "pgd": pgd}


def named(name: str) -> Callable[..., Attack]:
    """Returns the recipe of an attack in the catalogue.

    Raises InputError for another name, with the nearest ones.
    """
    if name not in catalogue:
        raise unknown("attack", name, catalogue)
    return catalogue[name]
