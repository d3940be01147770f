"""The kits for defences and detectors: what they let through, and that they see each fault that they look for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from steelman.defences import JPEG, BitDepth, RandomResizePad, UNetPurifier, input_checks
from steelman.defences.detectors import Watched
from steelman.errors import InputError
from steelman.testing import check_defence, check_detector


class Blur(nn.Module):
    """Averages over neighbours; `fault` is what it does wrong."""

    def __init__(self, size: int = 3, fault: str = "") -> None:
        super().__init__()
        self.settings: dict[str, Any] = {"size": size, "fault": fault}
        self.size, self.fault = size, fault
        if fault == "settings":
            self.settings = {"size": size + 2}

    def forward(self, x: Tensor) -> Tensor:
        out = nn.functional.avg_pool2d(x, self.size, 1, self.size // 2)
        faults = {
            "shape": lambda: out[..., 1:],
            "range": lambda: out + 0.5,
            "batch": lambda: out - 0.1 * (out - out.mean(0)),
            "detached": lambda: out.detach(),
            "dtype": lambda: out.double(),
            "nan": lambda: out.sqrt(),
        }
        return faults[self.fault]() if self.fault in faults else out


def test_defences_pass() -> None:
    check_defence(Blur())
    check_defence(JPEG, exact=True)
    check_defence(RandomResizePad(), exact=True)
    check_defence(UNetPurifier(3, width=4, code=8), shape=(3, 16, 16), exact=True)
    check_defence(BitDepth(), exact=True)


FAULTS = {
    "shape": "expected images .* as they went in",
    "range": r"expected finite images in \[0, 1\]",
    "batch": "expected an image's answer to be the same in any batch",
    "detached": "expected a gradient that reaches every image",
    "dtype": "expected torch.float32 as it went in, got torch.float64",
    "nan": "expected finite gradients at an image of 0.0 everywhere",
    "settings": "expected its settings to make it again",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_a_defence_is_seen(fault: str) -> None:
    with pytest.raises(AssertionError, match=f"Blur: {FAULTS[fault]}"):
        check_defence(Blur(fault=fault))


def test_what_may_be_is_asked_for_only_if_wanted() -> None:
    check_defence(Blur(fault="detached"), gradient=False)
    with pytest.raises(AssertionError, match="expected an InputError for images below 0"):
        check_defence(Blur(), exact=True)


class Darkness(nn.Module):
    """Scores images by how dark they are, next to clean ones; `fault` is what it does wrong."""

    name = "darkness"
    usual: Tensor

    def __init__(self, classifier: nn.Module, fault: str = "") -> None:
        super().__init__()
        self.settings: dict[str, object] = {"fault": fault}
        self.watched = Watched(classifier=classifier)
        self.register_buffer("usual", torch.zeros(()))
        self.fault = fault
        if fault == "owns":
            self.own = classifier

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Darkness | None:
        self.usual = x.mean()
        return None if self.fault == "fit" else self

    def score(self, x: Tensor) -> Tensor:
        input_checks.check(self, x)
        out = (x.mean((1, 2, 3)) - self.usual).abs()
        faults = {
            "shape": lambda: out[:, None],
            "batch": lambda: out - out.mean(),
            "dtype": lambda: out.double(),
            "detached": lambda: out.detach() + 0 * x.sum(),
        }
        return faults[self.fault]() if self.fault in faults else out


def test_detectors_pass() -> None:
    check_detector(Darkness, exact=True)
    check_detector("kernel-density", exact=True)
    check_detector("lid", k=5, reference=10)


SEEN = {
    "fit": "expected fit to return the detector",
    "shape": r"expected \(6,\) scores",
    "batch": "expected the same score in any batch",
    "dtype": "expected scores in single precision",
    "owns": "expected the classifier that it watches to be no part of it",
    "detached": "expected a finite gradient that reaches every image",
}


@pytest.mark.parametrize("fault", SEEN)
def test_every_fault_of_a_detector_is_seen(fault: str) -> None:
    with pytest.raises(AssertionError, match=f"Darkness: {SEEN[fault]}"):
        check_detector(Darkness, fault=fault)


def test_what_is_no_detector_is_one_line() -> None:
    with pytest.raises(InputError, match=r"expected Linear to .*"):
        check_detector(nn.Linear)
    with pytest.raises(InputError, match=r"without a method score\(x\)"):
        check_detector(nn.Identity)
