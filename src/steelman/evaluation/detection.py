"""How well detectors tell attacked images from clean ones: ROC, AUC and the share found at a few false alarms."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from scipy.special import ndtri
from torch import Tensor, nn

from steelman.defences.detectors import roc
from steelman.defences.rejecting import scored
from steelman.errors import InputError
from steelman.evaluation.intervals import clopper_pearson
from steelman.evaluation.measure import right
from steelman.records import Detection

_POINTS = 200


def detect(
    detectors: Mapping[str, nn.Module],
    model: nn.Module,
    clean: tuple[Tensor, Tensor],
    attacked: Mapping[str, Tensor],
    *,
    fitted_on: str = "",
    seen: tuple[str, ...] = (),
    fpr: float = 0.05,
    seed: int = 0,
    **named: str,
) -> tuple[Detection, ...]:
    """Returns a record for each detector and each attack, seen in fitting or not.

    detectors: fitted, by name.  model: the classifier.
    clean: (x, y), images (N, C, H, W) in [0, 1] and labels; those that it classifies correctly are the negatives.
    attacked: by the attack's name, what it made of the same images; those that the model then misclassifies are the
    positives.  fitted_on: the one attack of the fit, "" for none.  seen: which of the names are that attack.
    fpr: false alarms at which the share of attacked images found is told, inside (0, 1).
    named: the fields `dataset` and `classifier` of the records.
    Raises InputError for attacked images of another shape, and where the classifier classifies no clean image
    correctly.
    """
    x, y = clean
    odd = [attack for attack, x_adv in attacked.items() if x_adv.shape != x.shape]
    if odd:
        raise InputError(
            f"expected {tuple(x.shape)} images of {odd[0]}, one for each clean one, got {tuple(attacked[odd[0]].shape)}"
        )
    whole = right(model, x, y, seed=seed)
    if not bool(whole.any()):
        raise InputError(
            "expected a classifier that classifies some clean images correctly, got one that classifies none"
        )
    broken = {attack: whole & ~right(model, x_adv, y, seed=seed) for attack, x_adv in attacked.items()}
    found = []
    for detector, module in detectors.items():
        negatives = scored(module, x[whole])
        for attack, x_adv in attacked.items():
            chosen = x_adv[broken[attack]]
            positives = scored(module, chosen) if len(chosen) else negatives[:0]
            figures = measured(negatives, positives, fpr)
            kind = {"dataset": "data", "classifier": "model", "detector": detector, "attack": attack} | named
            found.append(Detection(**kind, fitted_on=fitted_on, seen=attack in seen, fpr=fpr, **figures))  # type: ignore[arg-type]
    return tuple(found)


def measured(negatives: Tensor, positives: Tensor, fpr: float = 0.05) -> dict[str, object]:
    """Returns the figures of a record from scores, (N,) of clean and (M,) of attacked images.

    Raises InputError for no clean ones, for scores that are NaN, and for fpr outside (0, 1).
    """
    at = roc.threshold(negatives, fpr)
    if bool(negatives.isnan().any() or positives.isnan().any()):
        raise InputError("expected scores that are numbers, got NaN: the detector overflows on these images")
    counts: dict[str, object] = {"positives": len(positives), "negatives": len(negatives)}
    if not len(positives):
        return counts | dict.fromkeys(("auc", "auc_low", "auc_high", "tpr", "tpr_low", "tpr_high"))
    low, high = delong(negatives, positives)
    hits = int((positives.double() > at).sum())
    least, most = clopper_pearson(hits, len(positives))
    false, true = roc.curve(negatives, positives)
    return counts | {
        "auc": roc.auc(negatives, positives),
        "auc_low": low,
        "auc_high": high,
        "tpr": hits / len(positives),
        "tpr_low": least,
        "tpr_high": most,
        "curve": _thinned(false, true),
    }


def delong(negatives: Tensor, positives: Tensor, confidence: float = 0.95) -> tuple[float, float]:
    """Returns (low, high): an interval for the area under the ROC, on the scale of its log-odds.

    Where every score of one kind beats all of the other, the variance says nothing: the exact interval for a share of
    the fewer images that were all in order stands in.
    Source: DeLong et al. 1988; the scale of the log-odds: Pepe 2003, section 5.2.
    """
    own, other = roc.placements(negatives, positives)
    area = float(own.mean())
    fewer = min(len(negatives), len(positives))
    if area in (0.0, 1.0) or fewer < 2:
        return clopper_pearson(round(area * fewer), fewer, confidence)
    variance = float(own.var() / len(positives) + other.var() / len(negatives))
    reach = float(ndtri((1 + confidence) / 2)) * math.sqrt(variance) / (area * (1 - area))
    middle = math.log(area / (1 - area))
    return _share(middle - reach), _share(middle + reach)


def _share(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


def _thinned(false: Tensor, true: Tensor) -> tuple[tuple[float, float], ...]:
    """The corners where the curve turns, and of many only some, spread evenly over the logarithm of what is flagged."""
    across, up = false.diff(), true.diff()
    turns = across[1:] * up[:-1] != across[:-1] * up[1:]
    kept = torch.cat([turns.new_ones(1), turns, turns.new_ones(1)])
    false, true = false[kept], true[kept]
    if len(false) > _POINTS:
        places = torch.linspace(0, math.log(len(false)), _POINTS, dtype=torch.float64).exp().long() - 1
        places = torch.cat([places.clamp(0, len(false) - 1), torch.tensor([0, len(false) - 1])]).unique()
        false, true = false[places], true[places]
    return tuple((round(a, 6), round(b, 6)) for a, b in zip(false.tolist(), true.tolist(), strict=True))
