"""The paper's figures. Source: arXiv 2312.03520, tables 1a, 1b, 2 and 3."""

from __future__ import annotations

DATASETS = ("mnist", "fashion-mnist")

FGSM_EPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0, 1.5)
PGD_EPS = (0.05, 0.10, 0.15, 0.20, 0.30)
DEFENDED = {"fgsm": 0.60, "pgd": 0.15}
"""The attacks of tables 2 and 3, and their eps."""

_CLEAN = {
    ("mnist", "fgsm"): 0.9901,
    ("mnist", "pgd"): 0.9922,
    ("fashion-mnist", "fgsm"): 0.9122,
    ("fashion-mnist", "pgd"): 0.9206,
}
_UNDEFENDED = {
    ("mnist", "fgsm"): (0.9099, 0.8237, 0.7274, 0.5840, 0.4054, 0.2648, 0.1610, 0.0531, 0.0523),
    ("fashion-mnist", "fgsm"): (0.4751, 0.3798, 0.2973, 0.2376, 0.1889, 0.1417, 0.0955, 0.0444, 0.0412),
    ("mnist", "pgd"): (0.6130, 0.1723, 0.0418, 0.0181, 0.0118),
    ("fashion-mnist", "pgd"): (0.3150, 0.2962, 0.2942, 0.2940, 0.2934),
}
_GUARDED = {
    ("mnist", "fgsm"): 0.9209,
    ("mnist", "pgd"): 0.9406,
    ("fashion-mnist", "fgsm"): 0.7393,
    ("fashion-mnist", "pgd"): 0.7291,
}
LATENCY_MS = {"defense-gan": 14_800.0, "puvae": 110.0, "conv-autoencoder": 8.0}
RIVALS = {"defense-gan": 0.8529, "puvae": 0.8133}
"""Table 3, FGSM at eps .60 on MNIST: the defences that the paper compares itself with."""


def undefended(dataset: str, attack: str, eps: float) -> float | None:
    """Returns the paper's accuracy without a defence, None where it gives none."""
    if eps == 0:
        return _CLEAN.get((dataset, attack))
    table = dict(zip(FGSM_EPS if attack == "fgsm" else PGD_EPS, _UNDEFENDED.get((dataset, attack), ()), strict=False))
    return table.get(eps)


def guarded(dataset: str, attack: str, eps: float) -> float | None:
    """Returns the paper's accuracy with its auto-encoder, None where it gives none."""
    return _GUARDED.get((dataset, attack)) if DEFENDED.get(attack) == eps else None
