"""What each ingredient of the robust auto-encoder's training is worth: trained again and again, one thing changed.

Every training has the same small budget, and what comes of it meets the same attacks, unknown of it and knowing it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from torch import Tensor, nn

from steelman.attacks import Attack, Worst, apgd, apgd_dlr, fgsm, square
from steelman.errors import unknown
from steelman.evaluation import measure
from steelman.evaluation.options import Defended
from steelman.norms import Linf
from steelman.pipeline import Pipeline
from steelman.progress import OnProgress, Progress, inside
from steelman.records import WORST, Evaluation, Protocol, Row
from steelman.report.formatting import duration
from steelman.studies import ablation_setup
from steelman.studies.ablation_setup import AblationPlan, AblationSetup
from steelman.studies.ablation_variants import BASE, VARIANTS, Variant
from steelman.studies.measured import attacked
from steelman.studies.presentation import presentation
from steelman.studies.published import DEFENDED

TABLE = "ablation"

TITLE = "What each ingredient of the robust auto-encoder's training is worth"

STEPS, QUERIES = 100, 500
"""Of Auto-PGD, and of the attack without gradients."""

Oblivious = Callable[[], Mapping[str, Tensor]]
"""Returns what each static attack made on the bare classifier, (N, *S) by name."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """One line of the table."""

    key: str
    name: str
    note: str
    pipeline: nn.Module


def ablate(plan: AblationPlan, progress: OnProgress) -> Evaluation:
    """Returns the accuracies of the bare classifier and of each variant before it: clean, static and adaptive.

    Variants are trained and attacked one by one, into the run folder; the next time, what is there is taken from there,
    and a training that was killed goes on.
    progress: hears of every attack, and of each training inside it.
    Raises InputError for a data set or a variant that it does not know, and for weights made in another way.
    """
    started = time.monotonic()
    listed, bench = _chosen(plan), ablation_setup.prepare(plan)
    total, rows = len(listed) + 1, list[Row]()
    oblivious = _oblivious(plan, bench)
    seconds: dict[str, float] = {}
    for at, one in enumerate((None, *listed)):
        entry = _Entry("none", "none", "", bench.bare)
        if one is not None:
            now = Progress(at, total, f"{plan.dataset}, {one.name}: training")
            progress(now)
            training = inside(progress, now, f"{one.name}, on {plan.dataset}")
            pipeline, seconds[one.name] = ablation_setup.trained(plan, one, bench, training)
            entry = _Entry(one.key, one.name, f"{one.says} Trained in {duration(seconds[one.name])}.", pipeline)
        title = f"{plan.dataset}, {entry.name}: attacks"
        progress(Progress(at, total, title))
        rows += _rows(plan, bench, oblivious, entry, _relay(progress, at, total, title))
    progress(Progress(total, total, "done"))
    return Evaluation(
        title=TITLE,
        rows=tuple(rows),
        settings={
            "data": bench.loaded.name,
            "share of training images": round(plan.share, 4),
            "validation images": plan.judged,
            "width": plan.width,
            "recipe": asdict(plan.recipe),
            "recipe, changed": {one.name: dict(one.recipe) for one in listed if one.recipe},
            "objectives": {one.name: repr(ablation_setup.objective(plan, one, bench)) for one in listed},
            "changes": {one.name: one.says for one in listed},
            "seconds of training": seconds,
            "attacks, static": [repr(attack) for attack in _static(plan)],
            "attacks, adaptive": [repr(attack) for attack in _adaptive(plan)],
        },
        versions=measure.versions(),
        presentation=presentation([TABLE]),
        notes=_notes(plan, bench),
        seconds=time.monotonic() - started,
    )


def _chosen(plan: AblationPlan) -> list[Variant]:
    known = {one.key: one for one in VARIANTS}
    for key in plan.chosen:
        if key not in known:
            raise unknown("variant", key, known)
    return [one for key, one in known.items() if key in (plan.chosen or known)]


def _notes(plan: AblationPlan, bench: AblationSetup) -> tuple[str, ...]:
    visits = plan.recipe.epochs * len(bench.loaded.split(plan.recipe.seed)[0])
    return (
        f"Each variant is one change from “{BASE}” and was shown {visits:,} images in {plan.recipe.epochs} epochs; "
        "the same images, recipe and seed for all, unless that is the change. This is a small part of what the weights "
        "that ship have seen: the figures compare ingredients, and do not say how far each could get. One training "
        "each: the intervals cover the test images, not another training's luck.",
        "Static attacks were made on the bare classifier and then shown to every pipeline; adaptive ones go through "
        "the pipeline, each on all images, and the worst case counts what survives all of them.",
    )


def _static(plan: AblationPlan) -> tuple[Attack, ...]:
    """The paper's FGSM, and the first of the adaptive attacks."""
    return fgsm(Linf(DEFENDED["fgsm"])), _adaptive(plan)[0]


def _adaptive(plan: AblationPlan) -> tuple[Attack, ...]:
    """On the cross-entropy, on a loss that no scale of the logits flattens, and without gradients."""
    threat = Linf(plan.eps)
    return apgd(threat, steps=STEPS), apgd_dlr(threat, steps=STEPS), square(threat, queries=QUERIES)


def _oblivious(plan: AblationPlan, bench: AblationSetup) -> Oblivious:
    @cache
    def made() -> Mapping[str, Tensor]:
        x, y = measure.on(bench.bare, bench.test)
        how: dict[str, Any] = {"seed": plan.recipe.seed, "indices": bench.test.indices, "precision": "auto"}
        return {attack.name: attack.with_goal(Worst())(bench.bare, x, y, **how).x for attack in _static(plan)}

    return made


def _relay(progress: OnProgress, at: int, of: int, title: str) -> OnProgress:
    return lambda now: progress(Progress(at + now.share, of, title))


def _rows(
    plan: AblationPlan, bench: AblationSetup, oblivious: Oblivious, entry: _Entry, progress: OnProgress
) -> Iterator[Row]:
    """The rows of one line; attacks through its pipeline are journaled in the run folder."""
    x, y = measure.on(entry.pipeline, bench.test)
    names = {"table": TABLE, "dataset": plan.dataset, "classifier": plan.classifier, "defence": entry.name}
    names |= {"note": entry.note}

    def row(correct: Tensor, attack: str, eps: float) -> Row:
        return measure.row(correct, attack=attack, eps=eps, protocol=Protocol.STATIC, **names)

    yield row(measure.right(entry.pipeline, x, y), "none", 0.0)
    for attack in _static(plan):
        yield row(measure.right(entry.pipeline, oblivious()[attack.name], y), attack.name, float(attack.threat.eps))
    named = Pipeline(entry.pipeline, name=plan.classifier, defence=entry.name)
    folder = plan.out / "rows" / plan.dataset / f"ablation-{entry.key}-{len(bench.test)}"
    listed = _adaptive(plan)
    found = attacked(Defended(named, None), bench.test, listed, seed=plan.recipe.seed, folder=folder, progress=progress)
    for name in (*(attack.name for attack in listed), WORST):
        yield replace(next(row for row in found.rows if row.attack == name), table=TABLE, note=entry.note)
