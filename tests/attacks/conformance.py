"""What every attack of the catalogue is tried on: small models, settings that are quick, and the cases there are."""

import inspect
import math

from steelman.attacks import Finds, catalogue
from steelman.testing.attacks import BALLS
from steelman.testing.subjects import Network
from steelman.testing.subjects import drawn as images
from steelman.threat import Threat

__all__ = ["BALLS", "CASCADES", "CASES", "INSIDE_A_BALL", "OF_A_SET", "OWN", "QUICK", "Network", "build", "images"]

QUICK = {"steps": 5, "queries": 60}
"""Of every recipe that knows them."""

OWN = {
    "jsma": {"gamma": 1.0},
    "nes": {"samples": 80, "steps": 8},
    "one-pixel": {"population": 20},
    "spsa": {"samples": 20, "steps": 15, "size": 0.05},
    "boundary": {"queries": 150},
    "geoda": {"queries": 200},
    "hopskipjump": {"queries": 200},
}
"""Quick settings of one attack, by its name."""

OF_A_SET = ("universal", "sgd-uap")
"""Attacks whose result for an image depends on the others of the call, by definition."""

CASCADES = ("autoattack", "standard")
"""Made of other attacks, all of which are tried; test_cascade.py and test_standard.py try these."""

INSIDE_A_BALL = [
    name
    for name, entry in catalogue.items()
    if entry.finds is not Finds.OUTSIDE and not entry.surrogate and name not in OF_A_SET + CASCADES
]
"""What is tried here; test_outside.py tries the others."""


def build(name, norm, *, targeted=None, eps=None, box=None, **settings):
    """An attack by name, quick where its recipe counts steps; settings that its recipe does not know are left out.

    One that looks for the smallest change gets a ball of any size, unless an eps is given.
    """
    entry, ball = catalogue[name], BALLS[norm]
    if eps is not None or entry.finds is Finds.NEAREST:
        ball = ball.at(math.inf if eps is None else eps)
    known = inspect.signature(entry.recipe).parameters
    given = {key: value for key, value in (QUICK | OWN.get(name, {}) | settings).items() if key in known}
    aim = {} if targeted is None or "targeted" not in known else {"targeted": targeted}
    return entry(Threat(ball, **(box or {})), **aim, **given)


CASES = [
    (name, norm, targeted)
    for name in INSIDE_A_BALL
    for norm in catalogue[name].norms
    for targeted in ((False, True) if catalogue[name].targeted else (False,))
]
