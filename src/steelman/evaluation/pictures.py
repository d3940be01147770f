"""One image on its way through attack and purifier, as a record."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steelman.attacks import AttackLike, Worst
from steelman.data import Images
from steelman.evaluation.measure import on, probabilities
from steelman.evaluation.planning.attacker import probe_pipeline
from steelman.evaluation.planning.attempts import attempts
from steelman.evaluation.storing.journal import StepKind
from steelman.evaluation.storing.store import Store
from steelman.pipeline import Pipeline
from steelman.progress import OnProgress
from steelman.records import Case, Fate, Picture, Protocol, Sample
from steelman.victim import Victim


def picture(
    images: Images, place: int, x_adv: Tensor, purifier: nn.Module | None, reader: nn.Module, **named: Any
) -> Picture:
    """Returns the record of one image.

    place: in images.  x_adv: (C, H, W), what the attack made of it.  purifier: None where there is none.
    reader: the classifier that reads the three images.  named: the fields of the record that say whose they are.
    """
    clean, label = images.batch([place])
    with Victim(purifier or reader, device=x_adv.device), torch.no_grad():
        purified = x_adv if purifier is None else purifier(x_adv[None])[0]
    way = torch.stack([clean[0].to(x_adv), x_adv, purified])
    sure, read = probabilities(reader, way, label.to(x_adv.device).expand(3)).max(1)
    names = [*images.classes, "no answer"]  # of a model that may abstain
    readings = [(names[int(k)], round(float(p), 4)) for k, p in zip(read, sure, strict=True)]
    return Picture(
        dataset=images.dataset,
        index=int(images.indices[place]),
        label=images.classes[int(label)],
        images=_pixels(way),
        readings=(readings[0], readings[1], readings[2]),
        **named,
    )


def made_on(
    pipeline: nn.Module, images: Images, attack: AttackLike, *, seed: int, progress: OnProgress | None = None
) -> Tensor:
    """Returns (N, *S): what an attack makes of images who knows the pipeline, to its worst, along the best path."""
    x, y = on(pipeline, images)
    attacker = probe_pipeline(pipeline, x, y, seed=seed)
    made = next(attempts(attacker, [attack.with_goal(Worst())]))
    return made(attacker, x, y, indices=images.indices, seed=seed, progress=progress).x


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pixels


def pictured(
    store: Store,
    cases: tuple[Case, ...],
    images: Images,
    model: Pipeline,
    undefended: nn.Module | None,
    most: int,
    device: torch.device,
) -> tuple[Picture, ...]:
    """Returns, of each case, images broken by the smallest change, and survivors that came nearest to breaking.

    most: of each kind.
    """
    classifier = model if undefended is None else undefended
    places = {number: place for place, number in enumerate(images.indices.tolist())}
    found = []
    for at, case in enumerate(cases):
        for sample, role in _chosen(case, most):
            x_adv, attack = _worst(store, at, sample)
            if x_adv is not None:
                found.append(
                    picture(
                        images,
                        places[sample.index],
                        x_adv.to(device),
                        model.purifier,
                        classifier,
                        classifier=case.classifier,
                        defence=case.defence,
                        attack=attack,
                        eps=case.eps,
                        protocol=Protocol.ADAPTIVE,
                        role=role,
                        norm=case.norm,
                    )
                )
    return tuple(found)


def _chosen(case: Case, most: int) -> list[tuple[Sample, str]]:
    broken = [sample for sample in case.samples if sample.fate is Fate.BROKEN]
    broken.sort(key=lambda sample: (math.inf if sample.distance is None else sample.distance, sample.index))
    holding = [sample for sample in case.samples if sample.fate is Fate.SURVIVED]
    holding.sort(key=lambda sample: (-sample.margin, sample.index))
    first = [(sample, "broken by the smallest change") for sample in broken[:most]]
    return first + [(sample, "survives, nearest to breaking") for sample in holding[:most]]


def _worst(store: Store, place: int, sample: Sample) -> tuple[Tensor | None, str]:
    """The image that broke a sample, or the one that came nearest, and the attack that made it."""
    steps = [step for step in store.steps(place) if step.kind not in (StepKind.CERTIFICATE, StepKind.STATIC)]
    nearest: tuple[Tensor | None, str] = None, "none"
    for step in steps:
        x_adv = store.image(step, sample.index)
        if x_adv is not None:
            nearest = x_adv, step.attack
            if sample.by == step.attack or sample.by.startswith(f"{step.attack}/"):
                break
    return nearest
