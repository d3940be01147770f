"""What is compared: our attacks and the peers' at one setting, and the passes of the model that make the floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import peers
from steelman.attacks import (
    Attack,
    Cascade,
    Last,
    Worst,
    apgd,
    at_input,
    autoattack,
    cw,
    ddn,
    deepfool,
    fgsm,
    fmn,
    geoda,
    hopskipjump,
    jsma,
    one_pixel,
    pgd,
    square,
    standard,
)
from steelman.norms import L0, L2, Linf
from steelman.threat import Threat


@dataclass(frozen=True)
class Case:
    """A row of the comparison.

    threat: by which everybody is judged.  forwards, backwards: of the floor, an image.
    ours: our attacks and the precision of each, by label.  peers: the name of the peers' adapters.
    repeats: how often what is short is run within a round, of which the least counts.
    """

    name: str
    threat: Threat
    forwards: int
    backwards: int
    images: int
    ours: Mapping[str, tuple[Attack | Cascade, str]]
    peers: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    repeats: int = 1

    @property
    def settings(self) -> peers.Settings:
        """What the peers are called with."""
        return peers.settings(self.peers, **self.changes)


def _pgd(eps: float, **settings: Any) -> Attack:
    return pgd(Linf(eps), steps=40, size=eps / 30, start=at_input, **settings)


def _cases() -> list[Case]:
    near, far = Threat(Linf(0.1)), Threat(Linf(0.11))
    any_l2 = Threat(L2())
    return [
        Case(
            "fgsm",
            near,
            1,
            1,
            1000,
            {"every image judged": (fgsm(Linf(0.1)).with_goal(Last()), "fp32")},
            peers="fgsm",
            changes={"eps": 0.1},
            repeats=5,
        ),
        Case(
            "pgd",
            near,
            41,
            40,
            1000,
            {
                "every step": (_pgd(0.1).with_goal(Worst()), "fp32"),
                "solved leave": (_pgd(0.1), "fp32"),
                "solved leave, bf16": (_pgd(0.1), "auto"),
            },
            peers="pgd",
        ),
        Case(
            "pgd-large",
            near,
            41,
            40,
            32,
            {
                "every step": (_pgd(0.1).with_goal(Worst()), "fp32"),
                "every step, bf16, folded": (_pgd(0.1).with_goal(Worst()), "auto, folded"),
            },
            peers="pgd",
            without=("adv-lib", "art", "cleverhans", "secmlt"),
        ),
        Case(
            "pgd-wide",
            Threat(Linf(0.3)),
            41,
            40,
            1000,
            {"every step": (_pgd(0.3).with_goal(Worst()), "fp32"), "solved leave": (_pgd(0.3), "fp32")},
            peers="pgd",
            changes={"eps": 0.3, "size": 0.01},
        ),
        Case(
            "apgd",
            near,
            101,
            100,
            500,
            {
                "every step": (apgd(Linf(0.1)).with_goal(Worst()), "fp32"),
                "solved leave": (apgd(Linf(0.1)), "fp32"),
                "solved leave, bf16": (apgd(Linf(0.1)), "auto"),
            },
            peers="apgd-ce-linf",
        ),
        Case(
            "autoattack",
            far,
            1,
            1,
            60,
            {"autoattack": (autoattack(Linf(0.11)), "fp32"), "standard": (standard(Linf(0.11)), "fp32")},
            peers="autoattack-linf",
            changes={"eps": 0.11},
            without=("torchattacks",),
        ),
        Case("ddn", any_l2, 101, 100, 500, {"ddn": (ddn(L2()), "fp32")}, peers="ddn"),
        Case("fmn", any_l2, 101, 100, 200, {"fmn": (fmn(L2()), "fp32")}, peers="fmn-l2"),
        Case("deepfool", any_l2, 1, 1, 200, {"deepfool": (deepfool(L2()), "fp32")}, peers="deepfool"),
        Case(
            "cw",
            any_l2,
            900,
            900,
            100,
            {"cw": (cw(L2(), searches=9, steps=100), "fp32")},
            peers="cw",
            without=("art",),
        ),
        Case("jsma", Threat(L0()), 1, 1, 20, {"jsma": (jsma(L0(), gamma=0.1), "fp32")}, peers="jsma"),
        Case(
            "one-pixel",
            Threat(L0(1)),
            4001,
            0,
            20,
            {"one_pixel": (one_pixel(L0(1), steps=10), "fp32")},
            peers="one-pixel",
            changes={"steps": 10},
        ),
        Case(
            "square",
            near,
            1000,
            0,
            100,
            {"square": (square(Linf(0.1), queries=1000), "fp32")},
            peers="square-linf",
            changes={"queries": 1000},
        ),
        Case(
            "hopskipjump",
            any_l2,
            1,
            0,
            10,
            {"hopskipjump": (hopskipjump(L2(), queries=2400), "fp32")},
            peers="hopskipjump",
        ),
        Case("geoda", any_l2, 2000, 0, 10, {"geoda": (geoda(L2(), queries=2000), "fp32")}, peers="geoda"),
    ]


CASES = {case.name: case for case in _cases()}
"""By name."""
