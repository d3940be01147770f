"""Our own tables as cells: every defence, what holds, and one purifier against everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from torch import Tensor

from steelman import data, models
from steelman.attacks import AttackLike
from steelman.data import Images
from steelman.progress import OnProgress
from steelman.studies import all_defences, comparison_figure, robustness, unseen_attacks
from steelman.studies.all_defences import Entrant
from steelman.studies.paper_setup import Cell, Found, Plan, tested


def attacks(dataset: str) -> Mapping[str, Sequence[AttackLike]]:
    """Returns what each of our tables attacks with."""
    return {
        all_defences.TABLE: list(all_defences.attacks(dataset).values()),
        robustness.TABLE: robustness.attacks(dataset),
        unseen_attacks.TABLE: [trial.attack for trial in unseen_attacks.trials(dataset)],
    }


def listed(plan: Plan, dataset: str) -> Iterator[Cell]:
    """Yields the cells of those of our tables that the plan has."""
    made = {all_defences.TABLE: _defences, robustness.TABLE: _holding, unseen_attacks.TABLE: _broad}
    if not set(made) & set(plan.tables):
        return
    images = tested(plan, data.load(dataset).test)
    for table, cells in made.items():
        if table in plan.tables:
            yield from cells(plan, dataset, images)


def _defences(plan: Plan, dataset: str, images: Images) -> Iterator[Cell]:
    """One cell for each defence."""
    bare = models.load(f"{dataset}/cnn").to(plan.device)
    how: dict[str, Any] = {"bare": bare, "seed": plan.seed, "folder": plan.out / all_defences.TABLE / dataset}

    def later(entrant: Entrant) -> Callable[[OnProgress], Found]:
        return lambda told: (all_defences.rows(entrant, images, **how, progress=told), [])

    for entrant in all_defences.entrants(dataset):
        title = f"{dataset}, {entrant.name} with {entrant.classifier}"
        yield Cell(title, all_defences.COST, later(_on(plan.device, entrant)))


def _holding(plan: Plan, dataset: str, images: Images) -> Iterator[Cell]:
    """One cell for each defence, and one for the picture of two of them."""
    bare = models.load(f"{dataset}/cnn").to(plan.device)
    how: dict[str, Any] = {"dataset": dataset, "bare": bare, "folder": plan.out / robustness.TABLE / dataset}

    @cache
    def oblivious() -> Mapping[tuple[str, float], Tensor]:
        return robustness.published_attacks(bare, images, seed=plan.seed)

    def later(entrant: Entrant) -> Callable[[OnProgress], Found]:
        return lambda hear: (
            robustness.rows(entrant, images, **how, oblivious=oblivious(), seed=plan.seed, progress=hear),
            [],
        )

    def shown(told: OnProgress) -> Found:
        theirs, ours = (_on(plan.device, entrant) for entrant in comparison_figure.pair(dataset))
        against = comparison_figure.attack(dataset)
        return [], comparison_figure.pictures(theirs, ours, images, against=against, seed=plan.seed, progress=told)

    yield Cell(f"{dataset}, the paper's purifier and ours", comparison_figure.COST, shown)
    for entrant in robustness.entrants(dataset, robustness.PURIFIERS, robustness.CLASSIFIERS[dataset]):
        title = f"{dataset}, what holds: {entrant.name} with {entrant.classifier}"
        yield Cell(title, robustness.COST, later(_on(plan.device, entrant)))


def _broad(plan: Plan, dataset: str, images: Images) -> Iterator[Cell]:
    """One cell for each defence."""

    def later(entrant: Entrant) -> Callable[[OnProgress], Found]:
        return lambda told: (unseen_attacks.rows(entrant, images, dataset=dataset, seed=plan.seed, progress=told), [])

    for entrant in robustness.entrants(dataset, unseen_attacks.PURIFIERS):
        yield Cell(
            f"{dataset}, everything against {entrant.name}", unseen_attacks.COST, later(_on(plan.device, entrant))
        )


def _on(device: str, entrant: Entrant) -> Entrant:
    return replace(entrant, pipeline=entrant.pipeline.to(device))
