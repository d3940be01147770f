"""One image on its way through attack and purifier, as a record."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steelman.data import Images
from steelman.evaluation.measure import probabilities
from steelman.evaluation.records import Picture
from steelman.victim import Victim


def picture(
    images: Images,
    place: int,
    hurt: Tensor,
    purifier: nn.Module | None,
    classifier: nn.Module,
    *,
    classifier_name: str,
    defence: str,
    attack: str,
    eps: float,
    protocol: str,
) -> Picture:
    """Returns the record of one image.

    place: in images.  hurt: (C, H, W), what the attack made of it.  purifier: None where there is none.
    classifier: what reads the three images.
    """
    clean, label = images.batch([place])
    with Victim(purifier or classifier, device=hurt.device), torch.no_grad():
        purified = hurt if purifier is None else purifier(hurt[None])[0]
    way = torch.stack([clean[0].to(hurt), hurt, purified])
    sure, read = probabilities(classifier, way, label.to(hurt.device).expand(3)).max(1)
    names = [*images.classes, "no answer"]  # of a model that may abstain
    readings = [(names[int(k)], round(float(p), 4)) for k, p in zip(read, sure, strict=True)]
    return Picture(
        dataset=images.name.removesuffix(" test"),
        classifier=classifier_name,
        defence=defence,
        attack=attack,
        eps=eps,
        protocol=protocol,
        index=int(images.indices[place]),
        label=images.classes[int(label)],
        images=_pixels(way),
        readings=(readings[0], readings[1], readings[2]),
    )


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pixels
