"""The paper's tables 1a, 1b, 2 and 3, measured under each protocol that they can be measured under; and ours beside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from steelman.evaluation import measure
from steelman.evaluation.planning.attacker import DRAWS
from steelman.precision import is_half
from steelman.progress import OnProgress, Progress
from steelman.records import Evaluation, Picture, Row
from steelman.studies import (
    ablation,
    ablation_setup,
    all_defences,
    article,
    own_tables,
    paper_tables,
    published,
    robustness,
    unseen_attacks,
)
from steelman.studies.paper_setup import Cell, Found, PaperSetup, Plan, prepare
from steelman.studies.presentation import presentation
from steelman.studies.protocols import AS_PUBLISHED, STATIC, adaptive

_STAGED = ("1a", "1b", "2", "3")
"""The paper's tables, which may need something trained first."""

EPS = {"fgsm": published.FGSM_EPS, "pgd": published.PGD_EPS}
ADAPTIVE_EPS = (*published.PGD_EPS, published.DEFENDED["fgsm"])
PICTURED = 2
"""How many images of each data set are shown at every eps."""


def reproduce(plan: Plan, progress: OnProgress) -> Evaluation:
    """Returns every row and picture of the plan's tables.

    progress: hears of every cell, and of each training that turns out to be needed inside it.
    Raises InputError for a data set, classifier or folder that is not there.
    """
    started = time.monotonic()
    staged = set(_STAGED) & set(plan.tables)
    stages = [prepare(plan, dataset, progress) for dataset in plan.datasets] if staged else []
    listed = [cell for stage in stages for cell in _papers(plan, stage)]
    listed += [cell for dataset in plan.datasets for cell in own_tables.listed(plan, dataset)]
    rows: list[Row] = []
    pictures: list[Picture] = []
    done, total = 0, sum(cell.cost for cell in listed)
    for cell in listed:
        progress(Progress(done, total, cell.title))
        found, shown = cell.measure(_relay(progress, cell, done, total))
        rows += found
        pictures += shown
        done += cell.cost
    if listed:
        progress(Progress(done, total, "done"))
    compared = [
        article.compare(_article(plan, dataset), progress) for dataset in plan.datasets if article.TABLE in plan.tables
    ]
    ablated = plan.datasets if ablation.TABLE in plan.tables else ()
    compared += [ablation.ablate(_ablation(plan, dataset), progress) for dataset in ablated]
    rows += [row for one in compared for row in one.rows]
    notes = [note for stage in stages for note in stage.notes]
    notes += list(dict.fromkeys(note for one in compared for note in one.notes))
    return Evaluation(
        title=_title(plan),
        rows=tuple(row for row in rows if row.table in plan.tables),
        pictures=tuple(pictures),
        features=tuple(drawn for one in compared for drawn in one.features),
        settings=_settings(plan, compared),
        versions=measure.versions(),
        notes=tuple(notes),
        seconds=time.monotonic() - started,
        presentation=presentation(plan.tables),
    )


def _settings(plan: Plan, compared: list[Evaluation]) -> dict[str, Any]:
    """What made the tables, for the report; of each study that was compared its own."""
    settings: dict[str, Any] = {
        "command": _command(plan),
        "profile": plan.profile,
        "classifier": plan.classifier,
        "images": plan.images,
        "share of training images": plan.share,
        "training images attacked by PGD": "all" if plan.attacked is None else plan.attacked,
        "seed": plan.seed,
        "precision": "bf16 to search, fp32 to judge" if is_half("auto", torch.device(plan.device)) else "fp32",
        "device": plan.device,
        "fgsm, as-published": repr(AS_PUBLISHED.attack("fgsm", 0.6)),
        "pgd, as-published": repr(AS_PUBLISHED.attack("pgd", 0.15)),
        "fgsm, static": repr(STATIC.attack("fgsm", 0.6)),
        "pgd, static": repr(STATIC.attack("pgd", 0.15)),
        "adaptive": [repr(attack) for attack in adaptive(0.15)],
        "adaptive, random pipelines": f"mean of {DRAWS} answers, to attack and, on fresh ones, to judge",
    }
    for dataset in plan.datasets:
        for table, made in own_tables.attacks(dataset).items():
            settings |= {f"{table}, {dataset}": [repr(attack) for attack in made]} if table in plan.tables else {}
    settings |= {f"{one.rows[0].table}, {one.settings['data']}": one.settings for one in compared}
    return settings


def _title(plan: Plan) -> str:
    if set(plan.tables) <= {all_defences.TABLE}:
        return "Every defence, unknown to the attacker and known"
    if set(plan.tables) <= {article.TABLE}:
        return article.TITLE
    if set(plan.tables) <= {ablation.TABLE}:
        return ablation.TITLE
    if set(plan.tables) <= {robustness.TABLE, unseen_attacks.TABLE}:
        return "What holds when the attacker knows it"
    return "Defense Against Adversarial Attacks using Convolutional Auto-Encoders, measured again"


def _article(plan: Plan, dataset: str) -> article.ArticlePlan:
    return article.ArticlePlan(dataset=dataset, images=plan.images, device=plan.device, out=plan.out)


def _ablation(plan: Plan, dataset: str) -> ablation_setup.AblationPlan:
    recipe = replace(ablation_setup.RECIPE, seed=plan.seed)
    return ablation_setup.AblationPlan(
        dataset=dataset, recipe=recipe, images=plan.images, device=plan.device, out=plan.out
    )


def _relay(progress: OnProgress, cell: Cell, done: int, total: int) -> OnProgress:
    return lambda now: progress(Progress(done + cell.cost * now.share, total, cell.title))


def _papers(plan: Plan, stage: PaperSetup) -> Iterator[Cell]:
    if {"1a", "1b", "2"} & set(plan.tables):
        yield from _accuracies(plan, stage)
    if "3" in plan.tables and "static" in plan.protocols and stage.dataset == "mnist":
        yield Cell("latency", 10, lambda _: (paper_tables.table3(plan, stage), []))


def _accuracies(plan: Plan, stage: PaperSetup) -> Iterator[Cell]:
    yield Cell(f"{stage.dataset}, clean", 10, lambda _: (paper_tables.clean(plan, stage), []))
    for attack, each in EPS.items():
        own_table = paper_tables.TABLE[attack] in plan.tables
        all_eps = each if own_table else (published.DEFENDED[attack],)
        cost = 3 * len(all_eps) if attack == "fgsm" else 60 * len(all_eps)
        title = f"{stage.dataset}, {attack} at {len(all_eps)} ε"
        if "as-published" in plan.protocols:
            yield Cell(f"{title}, as published", cost, _later(paper_tables.as_published, plan, stage, attack, all_eps))
        if "static" in plan.protocols:
            yield Cell(f"{title}, static", cost, _later(paper_tables.static, plan, stage, attack, all_eps))
    for eps in ADAPTIVE_EPS if "adaptive" in plan.protocols else ():
        title = f"{stage.dataset}, pgd at ε {eps:g}, adaptive"
        if "1b" in plan.tables or eps in published.DEFENDED.values():
            yield Cell(title, 60, _later(paper_tables.adaptive, plan, stage, "pgd", (eps,)))


def _later(
    function: Callable[[Plan, PaperSetup, str, Sequence[float], OnProgress], Found],
    plan: Plan,
    stage: PaperSetup,
    attack: str,
    all_eps: Sequence[float],
) -> Callable[[OnProgress], Found]:
    return lambda told: function(plan, stage, attack, all_eps, told)


def _command(plan: Plan) -> str:
    """The command line that gives this plan on any machine."""
    parts = [
        f"steelman reproduce --profile {plan.profile} --datasets {' '.join(plan.datasets)}",
        f"--classifier {plan.classifier} --tables {' '.join(plan.tables)} --protocols {' '.join(plan.protocols)}",
        f"--images {plan.images} --share {plan.share:g} --seed {plan.seed}",
    ]
    if plan.attacked is not None:
        parts.append(f"--attacked {plan.attacked}")
    if plan.retrain:
        parts.append("--retrain")
    return " ".join(parts)
