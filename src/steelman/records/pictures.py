"""What is shown: images on their way, and what the layers of a network make of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelman.records.kinds import Protocol


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image on its way: clean, attacked, purified, and what the classifier read each time.

    index: its place in the test set.  label: its class.  images: (3, H, W, C) uint8, clean, adversarial and purified
    (purified is the adversarial again where there is no defence).  readings: for each of the three the class that was
    read and its confidence in [0, 1].  role: why it is shown, as in "broken by the smallest change"; "" for no reason.
    norm: of the attack.
    """

    dataset: str
    classifier: str
    defence: str
    attack: str
    eps: float
    protocol: Protocol
    index: int
    label: str
    images: NDArray[np.uint8]
    readings: tuple[tuple[str, float], tuple[str, float], tuple[str, float]]
    role: str = ""
    norm: str = "Linf"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one layer makes of clean and of attacked images.

    noise: mean over n images of |f(x') - f(x)| / |f(x)|, Euclidean.  ci_low, ci_high: its 95 % interval, normal.
    maps: (K, 2, H, W) uint8, one channel of the layer for each of K images, clean and adversarial on one scale.
    channels: which one, for each image.
    """

    name: str
    noise: float
    ci_low: float
    ci_high: float
    channels: tuple[int, ...]
    maps: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the layers of one network make of an attack on it: their noise over n images, and the maps of K of these.

    indices, labels: (K,), places in the test set and classes.  images: (K, 2, H, W, C) uint8, clean and adversarial.
    readings: (K, 2), for each of them the class that was read and its confidence in [0, 1].
    """

    dataset: str
    classifier: str
    defence: str
    attack: str
    eps: float
    norm: str = "Linf"
    n: int
    indices: tuple[int, ...]
    labels: tuple[str, ...]
    readings: tuple[tuple[tuple[str, float], tuple[str, float]], ...]
    images: NDArray[np.uint8]
    layers: tuple[Layer, ...]
