"""Every defence under the same five attacks, made without knowing of it and through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from steelman import data, defences, models
from steelman.attacks import Attack, Worst, ddn, fgsm, pgd, square
from steelman.data import Images
from steelman.defences import detectors
from steelman.evaluation import measure
from steelman.evaluation.planning.attempts import survive
from steelman.norms import L2, Linf
from steelman.pipeline import Pipeline, wrapped
from steelman.records import WORST, Row
from steelman.studies.paper_tables import SEARCHING
from steelman.studies.protocols import DRAWS

TABLE = "defences"

RADII = {"mnist": (0.3, 2.0), "fashion-mnist": (0.1, 1.0)}
"""The Linf and the L2 radius of each data set; the field's for Linf."""

QUERIES = 300
"""Of the black-box attack."""

HEAVY = 10
"""Images before a defence that searches for every one of them; its attackers take few steps and see one answer each."""


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
        "pgd": pgd(Linf(eps), steps=10 if heavy else 40),
        "ddn": ddn(L2(radius), steps=20 if heavy else 100),
        "square": square(Linf(eps), queries=20 if heavy else QUERIES),
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
    _, held = data.load(dataset).split(0)
    return defences.reject(detector, plain, validation=held.x[:1000])


def unaware(images: Images, *, seed: int) -> Mapping[str, Tensor]:
    """Returns what each attack makes of the images on the plain `cnn`, with every step taken: (N, *S) by name."""
    plain = models.load(f"{images.dataset}/cnn")
    x, y = measure.on(plain, images)
    return {
        name: attack.with_goal(Worst())(plain, x, y, seed=seed, indices=images.indices).x
        for name, attack in attacks(images.dataset).items()
    }


def rows(
    entrant: Entrant, images: Images, x_adv: Mapping[str, Tensor], *, seed: int, observe: measure.Observer
) -> list[Row]:
    """Returns the figures of one defence: clean, and under each attack, static and adaptive.

    x_adv: what `unaware` made of these images: the static figure is what the pipeline reads of it.
    The adaptive attacks go through the pipeline, over the mean of several answers where that is random; an image counts
    as broken under `ddn` if a change within the L2 radius breaks it. The last row is the worst of the Linf attacks.
    """
    if entrant.heavy:
        images = images.take(torch.arange(min(HEAVY, len(images))))
    x, y = measure.on(entrant.pipeline, images)
    random = measure.is_random(entrant.pipeline, x, y)
    draws = DRAWS if random and not entrant.heavy else 1
    note = " ".join(filter(None, (entrant.note, _AVERAGED if draws > 1 else "", _SPARED if entrant.heavy else "")))

    def row(correct: Tensor, attack: str, eps: float, protocol: str, norm: str = "Linf") -> Row:
        return measure.row(
            correct,
            table=TABLE,
            dataset=images.dataset,
            classifier=entrant.classifier,
            defence=entrant.name,
            attack=attack,
            eps=eps,
            protocol=protocol,
            norm=norm,
            note=note,
        )

    found = [row(measure.right(entrant.pipeline, x, y, seed=seed, draws=draws), "none", 0.0, "static")]
    listed = attacks(images.dataset, heavy=entrant.heavy)
    worst = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for at, (name, attack) in enumerate(listed.items()):
        eps, norm = float(attack.threat.eps), attack.threat.ball.name
        hear = measure.part(observe, at, len(listed))
        made = x_adv[name][: len(x)].to(x.device)
        static = measure.right(entrant.pipeline, made, y, seed=seed, draws=draws, abstention="right")
        kept, _ = survive(
            [attack], entrant.pipeline, x, y, indices=images.indices, seed=seed, draws=draws, observe=hear
        )
        found += [row(static, name, eps, "static", norm), row(kept, name, eps, "adaptive", norm)]
        if norm == "Linf":
            worst &= kept
    return [*found, replace(row(worst, WORST, RADII[images.dataset][0], "adaptive"), worst_case=True)]


_AVERAGED = f"Random: attacked and judged by the mean of {DRAWS} answers."
_SPARED = f"Slow to ask: {HEAVY} images, and attackers of 10 (PGD), 20 (ddn) and 20 (square) looks at one answer each."
