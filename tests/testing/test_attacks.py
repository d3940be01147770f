"""The kit for attacks: what it lets through, and that it sees each fault that it looks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from steelman.attacks import Asks, Finds, Result, Single, fgsm, patch, pgd
from steelman.errors import InputError
from steelman.norms import Linf
from steelman.streams import Streams
from steelman.testing import check_attack
from steelman.threat import Threat


@dataclass(frozen=True)
class Corners(Single):
    """Tries corners of the ball at random, by decisions alone; `fault` is what it then does wrong."""

    threat: Threat
    tries: int = 5
    fault: str = ""

    name = "corners"
    targeted = False
    asks = Asks.DECISIONS
    finds = Finds.WITHIN

    def __call__(self, model: Any, x: Tensor, y: Tensor, *, seed: int = 0, indices: Any = None, **rest: Any) -> Result:
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        rows = torch.arange(len(x)) if indices is None or self.fault == "batch" else indices
        streams, found = Streams.of(seed, rows), x.clone()
        with torch.no_grad():
            broken = model(x).argmax(1) != y
            natural = broken.clone()
            for turn in range(self.tries):
                sign = streams.derive("corner").derive(turn).uniform(x).sub(0.5).sign()
                sign = torch.randn_like(x).sign() if self.fault == "torch" else sign
                far = 2.0 if self.fault == "far" else 1.0
                step = far * torch.as_tensor(self.threat.eps).reshape(-1, *[1] * (x.dim() - 1)) * sign
                tried = (x + step).clamp(0, 1).to(x)
                hit = ~broken & (model(tried).argmax(1) != y)
                found[hit], broken = tried[hit], broken | hit
        for module, training in modes:
            module.training = training and self.fault != "mode"
        if self.fault == "inputs":
            x.add_(0.01)
        if self.fault == "says":
            broken = torch.ones_like(broken)
        margin = torch.where(broken, 1.0, -1.0)
        by, spent = torch.where(broken & ~natural, 0, -1), torch.full_like(y, self.tries + 1)
        distance = self.threat.distance(found, around=x)
        return Result(found, broken, natural, margin, distance, spent, torch.zeros_like(y), by)

    def key(self) -> str:
        return "corners" if self.fault == "key" else super().key()


def test_attacks_pass_as_names_recipes_entries_and_as_they_are() -> None:
    check_attack("fgsm", norms=["Linf"])
    check_attack(pgd, norms=["L2"], quick={"steps": 2, "queries": 3})
    check_attack(fgsm(Linf(0.1)))
    check_attack(Corners(Threat(Linf(0.12))))
    check_attack(lambda threat, tries=5: Corners(threat, tries), norms=["Linf"])
    check_attack(lambda: patch(area=0.1, steps=2, batch=4), shape=(1, 8, 9))


FAULTS = {
    "far": "expected changes inside the threat",
    "says": "expected broken to say what fools the model",
    "torch": "expected torch's generator left alone",
    "batch": "expected an image's result to be the same in any batch and order",
    "mode": "expected the model's modes put back",
    "inputs": "expected",
    "key": "expected another key at another radius",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_seen(fault: str) -> None:
    with pytest.raises(AssertionError, match=f"corners under Linf: {FAULTS[fault]}"):
        check_attack(Corners(Threat(Linf(0.12)), fault=fault))


def test_what_the_engine_does_is_asked_only_of_its_own() -> None:
    with pytest.raises(AssertionError, match=r"expected every forward and backward pass counted|expected the margins"):
        check_attack(Corners(Threat(Linf(0.12))), exact=True)


@dataclass(frozen=True)
class Bare:
    """What lacks the protocol."""

    threat: Threat
    name: str = "bare"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (Bare, "got Bare without asks, at, .*: see steelman.attacks.AttackLike, and Single"),
        (3, "a function or a class as the attack, got int"),
        (lambda: 3, "got int without asks, at, "),
        (lambda threat, model: 3, "to make an attack of a threat, but TypeError"),
        (lambda threat: pgd(threat, steps=0), "to make an attack of a threat, but expected steps"),
    ],
)
def test_what_makes_no_attack_is_one_line(made: Callable[..., Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        check_attack(made)


def test_an_attack_of_another_radius_keeps_what_it_is() -> None:
    assert replace(Corners(Threat(Linf(0.1))).at(0.2), tries=3).threat.eps == 0.2
