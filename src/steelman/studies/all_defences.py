"""Every defence under the same five attacks, made without knowing of it and through it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from steelman import data, defences, models
from steelman.attacks import Attack, ddn, fgsm, pgd, square
from steelman.data import Images
from steelman.defences import detectors
from steelman.evaluation.options import Defended
from steelman.evaluation.planning.attacker import DRAWS
from steelman.norms import L2, Linf
from steelman.pipeline import Pipeline, wrapped
from steelman.progress import OnProgress
from steelman.records import WORST, Protocol, Row
from steelman.studies.measured import attacked
from steelman.studies.paper_tables import SEARCHING

TABLE = "defences"

RADII = {name: (Linf.usual[name], L2.usual[name]) for name in ("mnist", "fashion-mnist")}
"""The usual Linf and L2 radius of each data set."""

COST = 1500
"""Passes for each image, roughly."""

STEPS, QUERIES = 40, 300
"""Of PGD and ddn, and of the black-box attack."""


@dataclass(frozen=True)
class Entrant:
    """One line of the table: a pipeline, and whether asking it takes a search for every image."""

    pipeline: Pipeline
    heavy: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """Of the defence."""
        return self.pipeline.defence

    @property
    def classifier(self) -> str:
        """The name of the classifier."""
        return self.pipeline.name


def attacks(dataset: str, *, heavy: bool = False) -> Mapping[str, Attack]:
    """Returns the attacks of the table: one step, many steps, the smallest change in L2, and one without gradients."""
    eps, radius = RADII[dataset]
    return {
        "fgsm": fgsm(Linf(eps)),
        "pgd": pgd(Linf(eps), steps=5 if heavy else STEPS),
        "ddn": ddn(L2(radius), steps=5 if heavy else STEPS),
        "square": square(Linf(eps), queries=5 if heavy else QUERIES),
    }


def entrants(dataset: str) -> Iterator[Entrant]:
    """Yields every defence that ships for a data set, and every one that needs no training.

    Purifiers and transforms stand before the shipped `cnn`, detectors beside it; robust training, distillation and
    smoothing are classifiers of their own.
    """
    plain = models.load(f"{dataset}/cnn")
    yield Entrant(Pipeline(plain, name="cnn"))
    for name in _own(dataset, defences.shipped()):
        yield guarded(dataset, name, plain)
    for name in defences.transforms:
        yield Entrant(Pipeline(plain, purifier=defences.build(name, channels=1), name="cnn", defence=name))
    for name in _own(dataset, detectors.shipped()):
        rejecting, called = _rejecting(dataset, name, plain), f"rejecting, {name} detector"
        yield Entrant(wrapped(rejecting, plain, name="cnn", defence=called), note=_REJECTS)
    for name in _own(dataset, models.shipped()):
        if name == "cnn-noise":
            smoothed = defences.Smoothed(models.load(f"{dataset}/{name}"), 0.25, draws=4)
            yield Entrant(Pipeline(smoothed, name=name, defence="smoothing"), note=_SMOOTHED)
        elif name not in _UNDEFENDED:
            yield trained(dataset, name)


def guarded(dataset: str, name: str, plain: nn.Module) -> Entrant:
    """Returns a shipped purifier before the plain `cnn`; the paper's, which works on 32×32, between two resizings."""
    purifier = models.fitted(defences.load(f"{dataset}/{name}"), data.SHIPPED[dataset].shape)
    return Entrant(Pipeline(plain, purifier=purifier, name="cnn", defence=name), name in SEARCHING)


def trained(dataset: str, name: str) -> Entrant:
    """Returns a shipped classifier that was trained to hold, by its name and by how it was trained."""
    return Entrant(Pipeline(models.load(f"{dataset}/{name}"), name=name, defence=_TRAINED[name]))


_UNDEFENDED = frozenset({"cnn", "lenet"})
_TRAINED = {
    "cnn-distilled": "distillation",
    "cnn-linf": "PGD training",
    "lenet-l2": "PGD training, L2",
    "lenet-linf": "PGD training",
    "ramp-resnet-linf": "PGD training",
}
_REJECTS = (
    "Clean images it gives no answer to count as wrong, attacked ones as kept; it rejects 5 % of held clean images."
)
_SMOOTHED = "σ = .25, four noisy copies an answer."


def _own(dataset: str, names: list[str]) -> list[str]:
    return [name.partition("/")[2] for name in names if name.startswith(f"{dataset}/")]


def _rejecting(dataset: str, name: str, plain: nn.Module) -> nn.Module:
    """The threshold is set on images that trained neither the classifier nor the detector."""
    detector = detectors.load(f"{dataset}/{name}", plain, defences.load(f"{dataset}/unet"))
    _, val = data.load(dataset).split(0)
    return defences.reject(detector, plain, validation=val.x[:1000])


def rows(
    entrant: Entrant, images: Images, *, bare: nn.Module, seed: int, folder: Path | None, progress: OnProgress
) -> list[Row]:
    """Returns the figures of one defence: clean, and under each attack, static and adaptive.

    bare: the classifier that one attacks who knows of no defence, for the static figures.
    folder: of the whole table; each defence is journaled in its own, and a killed one goes on there.
    The adaptive attacks go through the pipeline, over the mean of several answers where that is random; an image counts
    as broken under `ddn` if a change within the L2 radius breaks it. The last row is the worst of the Linf attacks, and
    counts what was made on the bare classifier too.
    """
    few = _MOST.get(entrant.name, len(images))
    images = images.take(torch.arange(min(few, len(images))))
    listed = attacks(images.dataset, heavy=entrant.heavy)
    place = folder and folder / re.sub(r"\W+", "-", f"{entrant.classifier} {entrant.name}")
    given = Defended(entrant.pipeline, bare)
    found = attacked(given, images, list(listed.values()), seed=seed, folder=place, progress=progress)
    own = {(row.attack, row.norm, row.protocol): row for row in found.rows if row.defence == entrant.name}
    kept = [replace(own["none", "Linf", Protocol.ADAPTIVE], protocol=Protocol.STATIC)]
    for name, attack in listed.items():
        kept += [own[name, attack.threat.ball.name, protocol] for protocol in (Protocol.STATIC, Protocol.ADAPTIVE)]
    kept.append(own[WORST, "Linf", Protocol.ADAPTIVE])
    notes = [entrant.note]
    notes += [_AVERAGED] if any(stage.random for stage in found.cases[0].stages) else []
    notes += [f"Slow to ask: {len(images)} images."] if entrant.name in _MOST else []
    notes += [_SPARED] if entrant.heavy else []
    return [replace(row, table=TABLE, note=" ".join(filter(None, notes))) for row in kept]


_MOST = {
    "defense-gan": 3,
    "puvae": 10,
    "puvae-hardened": 10,
    "smoothing": 15,
    "total-variation": 15,
    "conv-autoencoder-fgsm": 30,
    "conv-autoencoder-pgd": 30,
    "resize-pad": 50,
    "rejecting, combined detector": 60,
}
"""Images before a defence that is slow to ask, at most: what takes about two minutes on one core, Defense-GAN ten."""

_AVERAGED = f"Random: attacked and judged by the mean of {DRAWS} answers."
_SPARED = "Attackers of five steps (PGD, ddn) and five queries (square): an upper bound."
