"""The picture that tells the story: the paper's purifier and ours before the same adaptive attack, image by image."""

from __future__ import annotations

import torch
from torch import Tensor

from steelman.attacks import Attack, Worst, apgd
from steelman.data import Images
from steelman.evaluation import measure
from steelman.evaluation.pictures import made_on, picture
from steelman.evaluation.planning.attacker import DRAWS
from steelman.norms import Linf
from steelman.progress import OnProgress, part
from steelman.records import Picture, Protocol
from steelman.studies import robustness
from steelman.studies.all_defences import RADII, Entrant
from steelman.studies.presentation import OURS, PAPERS

PICTURED = 6
"""Images of each data set, no two of one class."""

BEST = ("robust-autoencoder", "unet")
"""What stands for ours: the first of these that ships."""

COST = 100


def attack(dataset: str) -> Attack:
    """Returns the attack that both face: Auto-PGD at the data set's Linf radius, every step taken."""
    return apgd(Linf(RADII[dataset][0]), steps=100).with_goal(Worst())


def pair(dataset: str) -> tuple[Entrant, Entrant]:
    """Returns the paper's purifier and ours, both before the shipped `cnn`."""
    there = {entrant.name: entrant for entrant in robustness.entrants(dataset, (robustness.PUBLISHED, *BEST))}
    return there[robustness.PUBLISHED], next(there[name] for name in BEST if name in there)


def pictures(
    theirs: Entrant, ours: Entrant, images: Images, *, against: Attack, seed: int, progress: OnProgress
) -> list[Picture]:
    """Returns two pictures of each chosen image: attacked through the one pipeline, and through the other.

    Chosen are the first images of different classes that both pipelines classify correctly unattacked, whatever becomes
    of them. Of a random purifier one answer is shown.
    against: made through each pipeline, by one who knows it.
    """
    places = _chosen((theirs, ours), images, seed)
    if not places:
        return []
    chosen = images.take(torch.tensor(places))
    shown = []
    for at, (entrant, role) in enumerate(((theirs, PAPERS), (ours, OURS))):
        x_adv = made_on(entrant.pipeline, chosen, against, seed=seed, progress=part(progress, at, 2))
        shown.append([_picture(entrant, role, against, chosen, place, x_adv[place]) for place in range(len(chosen))])
    return [one for both in zip(*shown, strict=True) for one in both]


def _chosen(both: tuple[Entrant, Entrant], images: Images, seed: int) -> list[int]:
    """Places in images, in their order."""
    right = torch.ones(len(images), dtype=torch.bool)
    for entrant in both:
        x, y = measure.on(entrant.pipeline, images)
        right &= measure.right(entrant.pipeline, x, y, seed=seed, draws=DRAWS).cpu()
    first: dict[int, int] = {}
    for place in right.nonzero().flatten().tolist():
        first.setdefault(int(images.labels[place]), place)
    return sorted(first.values())[:PICTURED]


def _picture(entrant: Entrant, role: str, against: Attack, images: Images, place: int, x_adv: Tensor) -> Picture:
    return picture(
        images,
        place,
        x_adv,
        entrant.pipeline.purifier,
        entrant.pipeline.classifier,
        classifier=entrant.classifier,
        defence=entrant.name,
        attack=against.name,
        eps=float(against.threat.eps),
        protocol=Protocol.ADAPTIVE,
        role=role,
    )
