"""The cells of the paper's tables: one attack on one data set, as rows and pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from steelman.attacks import Progress
from steelman.defences import guard
from steelman.evaluation import measure
from steelman.evaluation.pictures import picture
from steelman.evaluation.records import Picture, Row
from steelman.models import Resized, folded, resize
from steelman.studies import published
from steelman.studies.protocols import AS_PUBLISHED, STATIC, adaptive_pgd
from steelman.studies.stage import Plan, Stage
from steelman.victim import Victim

TABLE = {"fgsm": "1a", "pgd": "1b"}
PICTURED = 2
"""How many images of each data set are shown at every eps."""

Hear = Callable[[Progress], None]
Found = tuple[list[Row], list[Picture]]


def clean(plan: Plan, stage: Stage) -> list[Row]:
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
    if "as-published" in plan.protocols:
        for autoencoder in (stage.autoencoders["fgsm"],):
            found = _read_published(plan, stage, _purified(autoencoder, resize(x, 32)), y)
            rows.append(_row(plan, stage, "2", "conv-autoencoder", "none", 0.0, "as-published", found, None))
    if "adaptive" in plan.protocols:
        for name, pipeline in {"none": stage.classifier, "unet": guard(stage.unet, stage.classifier)}.items():
            found = measure.right(pipeline, x, y)
            rows.append(_row(plan, stage, "1b", name, "none", 0.0, "adaptive", found, None))
    if "static" in plan.protocols:
        for defence, pipeline in _pipelines(stage, "fgsm").items():
            found = measure.right(pipeline, x, y, seed=plan.seed)
            rows.append(_row(plan, stage, "2", defence, "none", 0.0, "static", found, None))
    return rows


def as_published(plan: Plan, stage: Stage, attack: str, eps: float, hear: Hear) -> Found:
    """As the paper measured; behind its auto-encoder at the eps of table 2."""
    x, y = measure.on(stage.published, stage.images)
    result = AS_PUBLISHED.attack(attack, eps)(
        stage.published,
        resize(x, 32),
        y,
        seed=plan.seed,
        mode=AS_PUBLISHED.mode,
        slots=AS_PUBLISHED.slots,
        observe=hear,
    )
    there = published.undefended(stage.dataset, attack, eps)
    rows = [_row(plan, stage, TABLE[attack], "none", attack, eps, "as-published", ~result.broken, there)]
    if published.DEFENDED[attack] == eps:
        rows.append(_row(plan, stage, "2", "none", attack, eps, "as-published", ~result.broken, there))
        found = _read_published(plan, stage, _purified(stage.autoencoders[attack], result.x), y)
        there = published.guarded(stage.dataset, attack, eps)
        rows.append(_row(plan, stage, "2", "conv-autoencoder", attack, eps, "as-published", found, there))
    return rows, []


def static(plan: Plan, stage: Stage, attack: str, eps: float, hear: Hear) -> Found:
    """The attack sees the classifier alone; every defence then gets what it made."""
    x, y = measure.on(stage.classifier, stage.images)
    made = STATIC.attack(attack, eps)
    result = made(stage.classifier, x, y, seed=plan.seed, indices=stage.images.indices, observe=hear)
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


def adaptive(plan: Plan, stage: Stage, attack: str, eps: float, hear: Hear) -> Found:
    """The attack goes through the whole pipeline."""
    rows: list[Row] = []
    shown: list[Picture] = []
    for name, pipeline in {"none": stage.classifier, **_pipelines(stage, attack)}.items():
        if name == "conv-autoencoder" and eps not in published.DEFENDED.values():
            continue
        result = measure.adaptive(adaptive_pgd(eps), pipeline, stage.images, seed=plan.seed, observe=hear)
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


def table3(plan: Plan, stage: Stage) -> list[Row]:
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
            latency_ms=published.LATENCY_MS[name],
            note="accuracy and latency as the paper gives them, not measured here",
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
    clean = measure.right(stage.classifier, x, y)
    without = published.undefended(stage.dataset, "fgsm", 0)
    rows.append(_row(plan, stage, "3", "none", "none", 0.0, "static", clean, without))
    for name, pipeline in pipelines.items():
        found = measure.right(pipeline, hurt, y, seed=plan.seed)
        row = _row(plan, stage, "3", name, "fgsm", eps, "static", found, there.get(name))
        rows.append(_timed(row, folded(pipeline), x[:1]))
    return rows


def _timed(row: Row, pipeline: nn.Module, x: Tensor) -> Row:
    return replace(
        row,
        latency_ms=round(measure.latency(pipeline, x), 3),
        threads=torch.get_num_threads(),
        note=f"the paper says {there:g} ms, on its machine" if (there := published.LATENCY_MS.get(row.defence)) else "",
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
