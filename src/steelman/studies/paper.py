"""The paper's tables 1a, 1b, 2 and 3, measured: each cell under the protocols that it can be measured under."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from steelman.defences import guard
from steelman.evaluation import measure
from steelman.evaluation.pictures import picture
from steelman.evaluation.records import Evaluation, Picture, Row
from steelman.models import Resized, folded, resize
from steelman.studies import published
from steelman.studies.protocols import AS_PUBLISHED, STATIC, adaptive_pgd
from steelman.studies.stage import Plan, Stage, Watch, prepare
from steelman.victim import Victim

EPS = {"fgsm": published.FGSM_EPS, "pgd": published.PGD_EPS}
TABLE = {"fgsm": "1a", "pgd": "1b"}
ADAPTIVE_EPS = (*published.PGD_EPS, published.DEFENDED["fgsm"])
PICTURED = 2
"""How many images of each data set are shown at every eps."""


@dataclass(frozen=True)
class Cell:
    """One attack on one data set, and the rows and pictures that come of it.

    cost: passes of the classifier for each image, for the time that remains.
    """

    title: str
    cost: int
    measure: Callable[[], tuple[list[Row], list[Picture]]]


@dataclass(frozen=True)
class Done:
    """What an observer hears after every cell: passes done, in all, and the cell's title."""

    done: int
    total: int
    title: str


def reproduce(plan: Plan, watch: Watch, observe: Callable[[Done], None]) -> Evaluation:
    """Returns every row and picture of the plan's tables.

    watch: opens an observer for each training that turns out to be needed.  observe: hears of every finished cell.
    Raises InputError for a data set, classifier or folder that is not there.
    """
    started = time.monotonic()
    stages = [prepare(plan, dataset, watch) for dataset in plan.datasets]
    cells = [cell for stage in stages for cell in _cells(plan, stage)]
    rows: list[Row] = []
    pictures: list[Picture] = []
    done, total = 0, sum(cell.cost for cell in cells)
    for cell in cells:
        observe(Done(done, total, cell.title))
        found, shown = cell.measure()
        rows += found
        pictures += shown
        done += cell.cost
    observe(Done(done, total, "done"))
    notes = tuple(note for stage in stages for note in stage.notes)
    settings = {
        "command": _command(plan),
        "profile": plan.profile,
        "classifier": plan.classifier,
        "images": plan.images,
        "share of training images": plan.share,
        "seed": plan.seed,
        "device": plan.device,
        "fgsm, as-published": repr(AS_PUBLISHED.attack("fgsm", 0.6)),
        "pgd, as-published": repr(AS_PUBLISHED.attack("pgd", 0.15)),
        "fgsm, static": repr(STATIC.attack("fgsm", 0.6)),
        "pgd, static": repr(STATIC.attack("pgd", 0.15)),
        "pgd, adaptive": repr(adaptive_pgd(0.15)) + ", averaged over 10 draws where the pipeline is random",
    }
    return Evaluation(
        title="Defense Against Adversarial Attacks using Convolutional Auto-Encoders, measured again",
        rows=tuple(row for row in rows if row.table in plan.tables),
        pictures=tuple(pictures),
        settings=settings,
        versions=measure.versions(),
        notes=notes,
        seconds=time.monotonic() - started,
    )


def _cells(plan: Plan, stage: Stage) -> Iterator[Cell]:
    yield Cell(f"{stage.dataset}, clean", 10, lambda: (_clean(plan, stage), []))
    for attack, all_eps in EPS.items():
        own_table = TABLE[attack] in plan.tables
        for eps in all_eps:
            if not own_table and eps != published.DEFENDED[attack]:
                continue
            cost = 3 if attack == "fgsm" else 82
            title = f"{stage.dataset}, {attack} {eps:g}"
            if "as-published" in plan.protocols:
                yield Cell(f"{title}, as published", cost, _later(_as_published, plan, stage, attack, eps))
            if "static" in plan.protocols:
                yield Cell(f"{title}, static", cost, _later(_static, plan, stage, attack, eps))
    if "adaptive" in plan.protocols:
        for eps in ADAPTIVE_EPS:
            if "1b" in plan.tables or eps in published.DEFENDED.values():
                yield Cell(f"{stage.dataset}, pgd {eps:g}, adaptive", 40, _later(_adaptive, plan, stage, "pgd", eps))
    if "3" in plan.tables and stage.dataset == "mnist":
        yield Cell("latency", 10, lambda: (_table3(plan, stage), []))


def _later(
    function: Callable[[Plan, Stage, str, float], tuple[list[Row], list[Picture]]],
    plan: Plan,
    stage: Stage,
    attack: str,
    eps: float,
) -> Callable[[], tuple[list[Row], list[Picture]]]:
    return lambda: function(plan, stage, attack, eps)


def _clean(plan: Plan, stage: Stage) -> list[Row]:
    """Accuracy without an attack, before and behind each defence."""
    x, y = measure.on(stage.classifier, stage.images)
    rows = []
    for attack, table in TABLE.items():
        there = published.undefended(stage.dataset, attack, 0)
        if "as-published" in plan.protocols:
            found = _read_published(plan, stage, resize(x, 32), y)
            rows.append(_row(plan, stage, table, "none", "none", 0.0, "as-published", found, there))
        if "static" in plan.protocols:
            found = measure.right(stage.classifier, x, y)
            rows.append(_row(plan, stage, table, "none", "none", 0.0, "static", found, there))
            found = measure.right(guard(stage.unet, stage.classifier), x, y)
            rows.append(_row(plan, stage, table, "unet", "none", 0.0, "static", found, None))
    if "static" in plan.protocols:
        for defence, pipeline in _pipelines(stage, "fgsm").items():
            found = measure.right(pipeline, x, y, seed=plan.seed)
            rows.append(_row(plan, stage, "2", defence, "none", 0.0, "static", found, None))
    return rows


def _as_published(plan: Plan, stage: Stage, attack: str, eps: float) -> tuple[list[Row], list[Picture]]:
    x, y = measure.on(stage.published, stage.images)
    result = AS_PUBLISHED.attack(attack, eps)(
        stage.published, resize(x, 32), y, seed=plan.seed, mode=AS_PUBLISHED.mode, slots=AS_PUBLISHED.slots
    )
    there = published.undefended(stage.dataset, attack, eps)
    rows = [_row(plan, stage, TABLE[attack], "none", attack, eps, "as-published", ~result.broken, there)]
    if published.DEFENDED[attack] == eps:
        rows.append(_row(plan, stage, "2", "none", attack, eps, "as-published", ~result.broken, there))
        found = _read_published(plan, stage, _purified(stage.autoencoders[attack], result.x), y)
        there = published.guarded(stage.dataset, attack, eps)
        rows.append(_row(plan, stage, "2", "conv-autoencoder", attack, eps, "as-published", found, there))
    return rows, []


def _static(plan: Plan, stage: Stage, attack: str, eps: float) -> tuple[list[Row], list[Picture]]:
    x, y = measure.on(stage.classifier, stage.images)
    result = STATIC.attack(attack, eps)(stage.classifier, x, y, seed=plan.seed, indices=stage.images.indices)
    there = published.undefended(stage.dataset, attack, eps)
    pipelines = _pipelines(stage, attack)
    found = {"none": ~result.broken}
    found |= {name: measure.right(pipeline, result.x, y, seed=plan.seed) for name, pipeline in pipelines.items()}
    rows = [
        _row(plan, stage, TABLE[attack], name, attack, eps, "static", found[name], there if name == "none" else None)
        for name in ("none", "unet")
    ]
    if published.DEFENDED[attack] == eps:
        guarded = published.guarded(stage.dataset, attack, eps)
        there_by_name = {"none": there, "conv-autoencoder": guarded, "unet": guarded}
        rows += [
            _row(plan, stage, "2", name, attack, eps, "static", found[name], there_by_name[name]) for name in found
        ]
    return rows, _pictures(plan, stage, attack, eps, "static", result.x)


def _adaptive(plan: Plan, stage: Stage, attack: str, eps: float) -> tuple[list[Row], list[Picture]]:
    rows: list[Row] = []
    shown: list[Picture] = []
    for name, pipeline in {"none": stage.classifier, **_pipelines(stage, attack)}.items():
        if name == "conv-autoencoder" and eps not in published.DEFENDED.values():
            continue
        result = measure.adaptive(adaptive_pgd(eps), pipeline, stage.images, seed=plan.seed)
        if eps in published.PGD_EPS:
            rows.append(_row(plan, stage, "1b", name, attack, eps, "adaptive", ~result.broken, None))
        if eps in published.DEFENDED.values():
            rows.append(_row(plan, stage, "2", name, attack, eps, "adaptive", ~result.broken, None))
        if name == "unet":
            shown = _pictures(plan, stage, attack, eps, "adaptive", result.x)
    return rows, shown


def _pictures(plan: Plan, stage: Stage, attack: str, eps: float, protocol: str, hurt: Tensor) -> list[Picture]:
    """The same first images at every eps, so that a reader can follow one."""
    return [
        picture(
            stage.images,
            place,
            hurt[place],
            stage.unet,
            stage.classifier,
            classifier_name=plan.classifier,
            defence="unet",
            attack=attack,
            eps=eps,
            protocol=protocol,
        )
        for place in range(min(PICTURED, len(stage.images)))
    ]


def _table3(plan: Plan, stage: Stage) -> list[Row]:
    """Accuracy under FGSM at the paper's eps, and the time for one image, beside what the paper says of its rivals."""
    eps = published.DEFENDED["fgsm"]
    rows = [
        Row(
            table="3",
            dataset=stage.dataset,
            classifier="",
            defence=name,
            attack="fgsm",
            eps=eps,
            protocol="as-published",
            n=0,
            accuracy=None,
            ci_low=None,
            ci_high=None,
            published=accuracy,
            published_latency_ms=published.LATENCY_MS[name],
            note="published, not measured here",
        )
        for name, accuracy in published.RIVALS.items()
    ]
    x, y = measure.on(stage.classifier, stage.images)
    pipelines = {"none": stage.classifier, **_pipelines(stage, "fgsm")}
    hurt = STATIC.attack("fgsm", eps)(stage.classifier, x, y, seed=plan.seed, indices=stage.images.indices).x
    there = {
        "conv-autoencoder": published.guarded(stage.dataset, "fgsm", eps),
        "none": published.undefended(stage.dataset, "fgsm", eps),
    }
    for name, pipeline in pipelines.items():
        found = measure.right(pipeline, hurt, y, seed=plan.seed)
        row = _row(plan, stage, "3", name, "fgsm", eps, "static", found, there.get(name))
        rows.append(_timed(row, folded(pipeline), x[:1]))
    return rows


def _timed(row: Row, pipeline: nn.Module, x: Tensor) -> Row:
    return replace(
        row,
        latency_ms=round(measure.latency(pipeline, x), 3),
        published_latency_ms=published.LATENCY_MS.get(row.defence),
        threads=torch.get_num_threads(),
    )


def _pipelines(stage: Stage, attack: str) -> dict[str, nn.Module]:
    """The defended classifiers on images as they are."""
    paper = Resized(stage.autoencoders[attack], 32)
    return {"conv-autoencoder": guard(paper, stage.classifier), "unet": guard(stage.unet, stage.classifier)}


def _read_published(plan: Plan, stage: Stage, x: Tensor, y: Tensor) -> Tensor:
    protocol = AS_PUBLISHED
    return measure.right(stage.published, x, y, mode=protocol.mode, seed=plan.seed, batch=protocol.slots or len(x))


def _purified(autoencoder: nn.Module, x: Tensor) -> Tensor:
    with Victim(autoencoder, device=x.device), torch.no_grad():
        return torch.cat([autoencoder(part) for part in x.split(64)])


def _row(
    plan: Plan,
    stage: Stage,
    table: str,
    defence: str,
    attack: str,
    eps: float,
    protocol: str,
    found: Tensor,
    there: float | None,
) -> Row:
    return measure.row(
        found,
        table=table,
        dataset=stage.dataset,
        classifier=plan.classifier,
        defence=defence,
        attack=attack,
        eps=eps,
        protocol=protocol,
        published=there,
    )


def _command(plan: Plan) -> str:
    parts = [
        f"steelman reproduce --profile {plan.profile}",
        f"--datasets {' '.join(plan.datasets)} --classifier {plan.classifier} --tables {' '.join(plan.tables)}",
        f"--images {plan.images} --share {plan.share:g} --seed {plan.seed}",
    ]
    return " ".join(parts) + (" --retrain" if plan.retrain else "")
