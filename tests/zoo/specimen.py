"""What the zoo knows of each of its members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

Builder = Callable[[], nn.Module]
Target = Literal["the pipeline", "the undefended"]


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """A defence whose worth is known; its figures are shares of the first 100 seeded test images of MNIST.

    build: the pipeline, anew with each call.  undefended: the classifier that it was meant to protect, or None.
    eps: of the Linf threat on [0, 1].  against: what the naive attack differentiates; of some defences the authors
    attacked the undefended classifier alone, and so is theirs here.
    naive: accuracy left by it.  truth: accuracy left by the right attack of truth.py.
    verdict, source: the literature's.  sound: whether it is here so that an alarm over it would be a false one.
    """

    name: str
    build: Builder
    undefended: Builder | None = None
    eps: float
    against: Target = "the pipeline"
    naive: float
    truth: float
    verdict: str
    source: str
    sound: bool = False
