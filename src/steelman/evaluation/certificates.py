"""Proofs inside an evaluation: which images no change inside a threat can break."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from steelman import bounds
from steelman.errors import InputError
from steelman.evaluation.planning.attacker import Attacker
from steelman.threat import Threat
from steelman.victim import Victim, abstains

METHODS = ("ibp", "crown-ibp")
"""What is tried on every image, the cheapest first."""


class Proved(NamedTuple):
    """What could be proved.

    holds: (N,) bool.  margin: (N,), an upper bound of the largest margin inside the threat.  by: N names of methods, ""
    where none proved it.
    """

    holds: Tensor
    margin: Tensor
    by: list[str]


def certify(attacker: Attacker, x: Tensor, y: Tensor, threat: Threat) -> Proved | str:
    """Returns what could be proved of images, or why nothing can be.

    x: (N, *S), y: (N,), on the pipeline's device.
    """
    if attacker.random:
        return "It answers at random, which linear bounds cannot follow: smooth it, and see steelman certify."
    if abstains(attacker.pipeline):
        return "It may abstain, which linear bounds do not follow here."
    if threat.ball.name not in ("Linf", "L2", "L1"):
        return f"Linear bounds are for Linf, L2 and L1, not for {threat.ball.name}."
    if not len(x):
        return Proved(x.new_zeros(0, dtype=torch.bool), x.new_zeros(0), [])
    try:
        with Victim(attacker.pipeline, device=x.device):
            found = bounds.certify(attacker.pipeline, x, y, threat, methods=METHODS)
    except InputError as error:
        said = str(error).partition(": ")[0]
        return f"{said[:1].upper()}{said[1:]}."
    return Proved(found.holds, found.margin, [method or "" for method in found.by])
