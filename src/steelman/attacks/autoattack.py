"""AutoAttack: the cascade whose figure the field cites."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from steelman.attacks.apgd import apgd, apgd_dlr, apgd_t
from steelman.attacks.attack import Attack
from steelman.attacks.cascade import Cascade
from steelman.attacks.engine.estimators import averaged
from steelman.attacks.engine.goals import Break
from steelman.attacks.engine.guides import EachTarget
from steelman.attacks.fab import fab, fab_t
from steelman.attacks.settings import inside
from steelman.attacks.square import square
from steelman.errors import InputError
from steelman.losses import dlr_targeted
from steelman.norms import Ball
from steelman.threat import Threat

Version = Literal["standard", "plus", "rand"]


def autoattack(threat: Threat | Ball, *, version: Version = "standard") -> Cascade:
    """Returns AutoAttack as published, each part on what the ones before left whole.

    threat: Linf, L2 or L1; of a model with at least 4 classes.
    version: "standard" is APGD on cross-entropy, targeted APGD on 9 classes, targeted FAB on 9 and 5,000 queries of
    Square; in L1 APGD begins in wider balls, 5 times on cross-entropy, and aims at 5 classes. "plus" has 5 restarts,
    APGD on DLR and untargeted FAB beside them; "rand", for random models, is APGD on both losses through means of 20.
    A sample leaves when it breaks, where the authors' code takes all 100 steps; that changes no verdict.
    Raises InputError for another norm or version.
    Source: Croce & Hein 2020 (Reliable evaluation), section 6, and 2021 (Mind the box) for L1; numbers of their code.
    """
    threat = inside(threat, "autoattack", "Linf", "L2", "L1")
    if version not in ("standard", "plus", "rand"):
        raise InputError(f"expected version standard, plus or rand, got {version!r}")
    sparse = threat.ball.name == "L1"
    if sparse and version == "plus":
        raise InputError("expected version standard or rand for L1, as its paper has, got 'plus'")
    return Cascade(
        name="autoattack" if version == "standard" else f"autoattack-{version}",
        threat=threat,
        attacks=_parts(threat, version, sparse),
    )


def _parts(threat: Threat, version: Version, sparse: bool) -> tuple[Attack, ...]:
    if version == "rand":
        return tuple(part(threat, shrink=sparse).through(averaged(20)) for part in (apgd, apgd_dlr))
    last = replace(fab_t(threat), goal=Break()), square(threat, rescale=False)
    if version == "plus":
        first = apgd(threat, restarts=5), apgd_dlr(threat, restarts=5), replace(fab(threat, restarts=5), goal=Break())
        return *first, last[1], apgd_t(threat), last[0]
    if sparse:
        aimed = replace(apgd_t(threat, shrink=True), loss=EachTarget(dlr_targeted, most=5))
        return apgd(threat, shrink=True, restarts=5), aimed, *last
    return apgd(threat), apgd_t(threat), *last
