"""How well a detector does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How well one detector tells the images of one attack from clean ones.

    fitted_on: the attack that it was fitted on, "" for clean images alone.  seen: whether that is this attack.
    positives: attacked images that broke the classifier.  negatives: clean images that it classifies correctly.
    auc: area under the ROC, with its 95 % interval (DeLong).  tpr: share of positives above the threshold that at most
    a share `fpr` of negatives exceeds, with its 95 % interval (Clopper-Pearson).  None where there are no positives.
    curve: corners of the ROC as (false-positive rate, true-positive rate), thinned.
    """

    dataset: str
    classifier: str
    detector: str
    attack: str
    fitted_on: str
    seen: bool
    positives: int
    negatives: int
    fpr: float = 0.05
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    tpr: float | None
    tpr_low: float | None
    tpr_high: float | None
    curve: tuple[tuple[float, float], ...] = ()
