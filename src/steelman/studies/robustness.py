"""What holds when the attacker knows it: clean, static, adaptive and certified accuracy of the defences that matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from steelman import defences, models
from steelman.attacks import AttackLike, autoattack, standard
from steelman.data import Images
from steelman.evaluation import measure
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.evaluation.planning.attacker import DRAWS
from steelman.norms import Linf
from steelman.pipeline import Pipeline
from steelman.progress import OnProgress
from steelman.records import WORST, Case, Row
from steelman.studies import all_defences
from steelman.studies.all_defences import RADII, Entrant
from steelman.studies.protocols import STATIC
from steelman.studies.published import DEFENDED

TABLE = "holds"

PUBLISHED = "conv-autoencoder-pgd"
"""The paper's purifier."""

PURIFIERS = (PUBLISHED, "unet", "robust-autoencoder", "certified-autoencoder")
CLASSIFIERS = {"mnist": ("ramp-resnet-linf",), "fashion-mnist": ("lenet-linf",)}
"""Trained to hold by themselves, for comparison: of each data set the one that holds best."""

COST = 5000
"""Passes for each image, roughly: from a few for what breaks at once to the thousands that a survivor takes."""


def attacks(dataset: str, *, random: bool = False) -> tuple[AttackLike, ...]:
    """Returns the cascades whose worst case counts, at the data set's Linf radius, the cheaper one first.

    random: of a pipeline that answers at random, for which AutoAttack's authors have a version of its own.
    """
    threat = Linf(RADII[dataset][0])
    return standard(threat), autoattack(threat, version="rand" if random else "standard")


def entrants(dataset: str, names: tuple[str, ...] = PURIFIERS, classifiers: tuple[str, ...] = ()) -> Iterator[Entrant]:
    """Yields the plain `cnn`, then those of the named purifiers that ship, before it, and of the named classifiers."""
    plain = models.load(f"{dataset}/cnn")
    yield Entrant(Pipeline(plain, name="cnn"))
    for name in names:
        if f"{dataset}/{name}" in defences.shipped():
            yield all_defences.guarded(dataset, name, plain)
    for name in classifiers:
        if f"{dataset}/{name}" in models.shipped():
            yield all_defences.trained(dataset, name)


def published_attacks(bare: nn.Module, images: Images, *, seed: int) -> dict[tuple[str, float], Tensor]:
    """Returns what the paper's two attacks, at the ε of its table 2, make of images on a bare classifier, (N, *S)."""
    x, y = measure.on(bare, images)
    return {
        (name, eps): STATIC.run(STATIC.attack(name, eps), bare, x, y, seed=seed).x for name, eps in DEFENDED.items()
    }


def rows(
    entrant: Entrant,
    images: Images,
    *,
    dataset: str,
    bare: nn.Module,
    oblivious: Mapping[tuple[str, float], Tensor],
    folder: Path | None,
    seed: int,
    progress: OnProgress,
) -> list[Row]:
    """Returns the figures of one defence: clean, static, adaptive and certified, each over all of the images.

    bare: the classifier that one attacks who knows of no defence; what is made on it gives the static figures.
    oblivious: what `published_attacks` made of these images, for the paper's own two.
    folder: where the evaluation is journaled, and its results stand; a killed one goes on there.
    The adaptive figure is what survives everything: the cascades through the pipeline, and what was made oblivious; its
    note says whether the trust checks believe it.
    """
    random = measure.is_random(entrant.pipeline, *measure.on(entrant.pipeline, images))
    place = folder and folder / (entrant.name if entrant.classifier == "cnn" else entrant.classifier)
    found = evaluate(
        Defended(entrant.pipeline, bare),
        images,
        attacks(dataset, random=random),
        EvaluationOptions(seed=seed, pictures=0, curve=False),
        folder=place,
        progress=progress,
    )
    if place is not None:
        found.write(place)  # what a report or a model card is drawn of
    return list(_rows(entrant, images, found.cases[0], dataset=dataset, oblivious=oblivious, seed=seed, random=random))


def _rows(
    entrant: Entrant,
    images: Images,
    case: Case,
    *,
    dataset: str,
    oblivious: Mapping[tuple[str, float], Tensor],
    seed: int,
    random: bool,
) -> Iterator[Row]:
    """A case as rows of the table, with the paper's own two attacks looked at here."""
    note = " ".join(filter(None, (entrant.note, _AVERAGED if random else "")))

    def row(held: Iterable[bool], attack: str, protocol: str, note: str, eps: float = case.eps) -> Row:
        return measure.row(
            torch.tensor(list(held)),
            table=TABLE,
            dataset=dataset,
            classifier=entrant.classifier,
            defence=entrant.name,
            attack=attack,
            eps=0.0 if attack == "none" else eps,
            protocol=protocol,
            norm=case.norm,
            note=note,
            worst_case=attack == WORST,
        )

    yield row([sample.clean for sample in case.samples], "none", "static", note)
    yield row([bool(sample.static) for sample in case.samples], "pgd", "static", note)
    _, y = measure.on(entrant.pipeline, images)
    for (name, eps), x_adv in oblivious.items():
        held = measure.right(entrant.pipeline, x_adv.to(y.device), y, seed=seed, draws=DRAWS if random else 1)
        yield row(held.tolist(), name, "static", note, eps)
    trusted = " ".join(filter(None, (note, _trusted(case))))
    yield row([sample.kept for sample in case.samples], WORST, "adaptive", trusted)
    yield row([bool(sample.certified) for sample in case.samples], WORST, "certified", _unproved(case))


_AVERAGED = (
    f"Random: attacked and judged by the mean of {DRAWS} answers, by AutoAttack in its version for random models."
)


def _trusted(case: Case) -> str:
    """What the trust checks say of the adaptive figure."""
    return f"Verdict: {'; '.join((case.verdict.word, *case.verdict.reasons))}."


def _unproved(case: Case) -> str:
    """Why nothing is proved; "" where something is."""
    interval = case.certified_interval
    if interval.certified is None:
        return f"Nothing is proved. {interval.why}".strip()
    return "" if interval.certified else "Interval bounds and CROWN-IBP prove none of what a few steps of PGD leave."
