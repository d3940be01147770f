"""Attacks on image classifiers: one catalogue, one engine."""

from __future__ import annotations

from steelman.attacks.apgd import apgd, apgd_dlr, apgd_t
from steelman.attacks.attack import Attack
from steelman.attacks.attack_like import AttackLike, Result, Single
from steelman.attacks.autoattack import autoattack
from steelman.attacks.carlini_wagner.cw import cw
from steelman.attacks.cascade import Cascade
from steelman.attacks.catalogue import Entry, catalogue, named
from steelman.attacks.corruptions.worst_of import accuracies, corruptions
from steelman.attacks.ddn import ddn
from steelman.attacks.decision_based.boundary import boundary
from steelman.attacks.decision_based.geoda import geoda
from steelman.attacks.decision_based.hopskipjump import hopskipjump
from steelman.attacks.deepfool import deepfool
from steelman.attacks.ead import ead
from steelman.attacks.engine.estimators import averaged, blurred, borrowed, exact
from steelman.attacks.engine.goals import Break, Confident, Finds, Last, Nearest, Worst
from steelman.attacks.engine.problem import Asks, Probe, Problem, Rule
from steelman.attacks.engine.schedules import Fixed, OfEps, at_blocks, at_corner, at_given, at_input, at_random
from steelman.attacks.estimates import estimated, nes, spsa
from steelman.attacks.fab import fab, fab_t
from steelman.attacks.fmn import fmn
from steelman.attacks.gama import gama, gama_fw
from steelman.attacks.jsma import jsma
from steelman.attacks.lbfgs import lbfgs
from steelman.attacks.learnt import Universal
from steelman.attacks.momentum import mifgsm
from steelman.attacks.odi import diversified, odi
from steelman.attacks.one_pixel import one_pixel
from steelman.attacks.patch import lavan, patch
from steelman.attacks.sigma_zero import sigma_zero
from steelman.attacks.spatial import spatial
from steelman.attacks.square import square
from steelman.attacks.standard import Settling, standard
from steelman.attacks.steepest import Steepest, bim, fgsm, pgd
from steelman.attacks.sweep import sweep
from steelman.attacks.transfer import transfer
from steelman.attacks.universal import sgd_uap, universal

__all__ = [
    "Asks",
    "Attack",
    "AttackLike",
    "Break",
    "Cascade",
    "Confident",
    "Entry",
    "Finds",
    "Fixed",
    "Last",
    "Nearest",
    "OfEps",
    "Probe",
    "Problem",
    "Result",
    "Rule",
    "Settling",
    "Single",
    "Steepest",
    "Universal",
    "Worst",
    "accuracies",
    "apgd",
    "apgd_dlr",
    "apgd_t",
    "at_blocks",
    "at_corner",
    "at_given",
    "at_input",
    "at_random",
    "autoattack",
    "averaged",
    "bim",
    "blurred",
    "borrowed",
    "boundary",
    "catalogue",
    "corruptions",
    "cw",
    "ddn",
    "deepfool",
    "diversified",
    "ead",
    "estimated",
    "exact",
    "fab",
    "fab_t",
    "fgsm",
    "fmn",
    "gama",
    "gama_fw",
    "geoda",
    "hopskipjump",
    "jsma",
    "lavan",
    "lbfgs",
    "mifgsm",
    "named",
    "nes",
    "odi",
    "one_pixel",
    "patch",
    "pgd",
    "sgd_uap",
    "sigma_zero",
    "spatial",
    "spsa",
    "square",
    "standard",
    "sweep",
    "transfer",
    "universal",
]
