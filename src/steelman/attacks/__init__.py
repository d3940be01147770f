"""Attacks on image classifiers: one catalogue, one engine."""

from __future__ import annotations

from steelman.attacks.attack import Attack, Result
from steelman.attacks.cascade import Cascade
from steelman.attacks.catalogue import Entry, catalogue, named
from steelman.attacks.engine import Progress
from steelman.attacks.goals import Break, Last, Nearest, Worst
from steelman.attacks.gradients import averaged, exact
from steelman.attacks.problem import Probe, Problem, Rule
from steelman.attacks.schedules import Fixed, OfEps, at_given, at_input, at_random
from steelman.attacks.steepest import Steepest, bim, fgsm, pgd
from steelman.attacks.sweep import sweep

__all__ = [
    "Attack",
    "Break",
    "Cascade",
    "Entry",
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
    "sweep",
]
