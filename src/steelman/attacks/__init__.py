"""Attacks on image classifiers: one catalogue, one engine."""

from __future__ import annotations

from steelman.attacks.apgd import apgd, apgd_dlr, apgd_t
from steelman.attacks.attack import Attack, Result
from steelman.attacks.boundary import boundary
from steelman.attacks.cascade import Cascade
from steelman.attacks.catalogue import Entry, catalogue, named
from steelman.attacks.cw import cw
from steelman.attacks.ddn import ddn
from steelman.attacks.deepfool import deepfool
from steelman.attacks.engine import Progress
from steelman.attacks.ead import ead
from steelman.attacks.fab import fab, fab_t
from steelman.attacks.fmn import fmn
from steelman.attacks.gama import gama, gama_fw
from steelman.attacks.geoda import geoda
from steelman.attacks.goals import Break, Confident, Last, Nearest, Worst
from steelman.attacks.gradients import averaged, exact
from steelman.attacks.hopskipjump import hopskipjump
from steelman.attacks.lbfgs import lbfgs
from steelman.attacks.momentum import mifgsm
from steelman.attacks.odi import diversified, odi
from steelman.attacks.problem import Probe, Problem, Rule
from steelman.attacks.schedules import Fixed, OfEps, at_corner, at_given, at_input, at_random
from steelman.attacks.sigma_zero import sigma_zero
from steelman.attacks.square import square
from steelman.attacks.steepest import Steepest, bim, fgsm, pgd
from steelman.attacks.sweep import sweep

__all__ = [
    "Attack",
    "Break",
    "Cascade",
    "Confident",
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
    "apgd",
    "apgd_dlr",
    "apgd_t",
    "at_corner",
    "at_given",
    "at_input",
    "at_random",
    "averaged",
    "bim",
    "boundary",
    "catalogue",
    "cw",
    "ddn",
    "deepfool",
    "diversified",
    "ead",
    "exact",
    "fab",
    "fab_t",
    "fgsm",
    "fmn",
    "gama",
    "gama_fw",
    "geoda",
    "hopskipjump",
    "lbfgs",
    "mifgsm",
    "named",
    "odi",
    "pgd",
    "sigma_zero",
    "square",
    "sweep",
]
