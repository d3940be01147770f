"""Our own tables as cells: every defence, what holds, and one purifier against everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from torch import Tensor

from steelman import data, models
from steelman.attacks import AnyAttack
from steelman.data import Images
from steelman.studies import breadth, facing, holds, lineup
from steelman.studies.lineup import Entrant
from steelman.studies.stage import Cell, Found, Hear, Plan, tested


def attacks(dataset: str) -> Mapping[str, Sequence[AnyAttack]]:
    """Returns what each of our tables attacks with."""
    return {
        lineup.TABLE: list(lineup.attacks(dataset).values()),
        holds.TABLE: holds.attacks(dataset),
        breadth.TABLE: [trial.attack for trial in breadth.trials(dataset)],
    }


def listed(plan: Plan, dataset: str) -> Iterator[Cell]:
    """Yields the cells of those of our tables that the plan has."""
    made = {lineup.TABLE: _defences, holds.TABLE: _holding, breadth.TABLE: _broad}
    if not set(made) & set(plan.tables):
        return
    images = tested(plan, data.load(dataset).test)
    for table, cells in made.items():
        if table in plan.tables:
            yield from cells(plan, dataset, images)


def _defences(plan: Plan, dataset: str, images: Images) -> Iterator[Cell]:
    """One cell for each defence; what is made without knowing of any is made once, by the first that runs."""

    @cache
    def unaware() -> Mapping[str, Tensor]:
        return lineup.unaware(images, seed=plan.seed)

    def later(entrant: Entrant) -> Callable[[Hear], Found]:
        return lambda hear: (lineup.rows(entrant, images, unaware(), seed=plan.seed, observe=hear), [])

    for entrant in lineup.entrants(dataset):
        yield Cell(f"{dataset}, {entrant.name} with {entrant.classifier}", 1500, later(entrant))


def _holding(plan: Plan, dataset: str, images: Images) -> Iterator[Cell]:
    """One cell for each defence, and one for the picture of two of them."""
    bare = models.load(f"{dataset}/cnn").to(plan.device)
    how: dict[str, Any] = {"dataset": dataset, "bare": bare, "folder": plan.out / holds.TABLE / dataset}

    @cache
    def unaware() -> Mapping[tuple[str, float], Tensor]:
        return holds.published_attacks(bare, images, seed=plan.seed)

    def later(entrant: Entrant) -> Callable[[Hear], Found]:
        return lambda hear: (
            holds.rows(entrant, images, **how, unaware=unaware(), seed=plan.seed, observe=hear),
            [],
        )

    def shown(hear: Hear) -> Found:
        theirs, ours = (_on(plan.device, entrant) for entrant in facing.pair(dataset))
        against = facing.attack(dataset)
        return [], facing.pictures(theirs, ours, images, against=against, seed=plan.seed, observe=hear)

    yield Cell(f"{dataset}, the paper's purifier and ours", facing.COST, shown)
    for entrant in holds.entrants(dataset, holds.PURIFIERS, holds.CLASSIFIERS[dataset]):
        title = f"{dataset}, what holds: {entrant.name} with {entrant.classifier}"
        yield Cell(title, holds.COST, later(_on(plan.device, entrant)))


def _broad(plan: Plan, dataset: str, images: Images) -> Iterator[Cell]:
    """One cell for each defence."""

    def later(entrant: Entrant) -> Callable[[Hear], Found]:
        return lambda hear: (breadth.rows(entrant, images, dataset=dataset, seed=plan.seed, observe=hear), [])

    for entrant in holds.entrants(dataset, breadth.PURIFIERS):
        yield Cell(f"{dataset}, everything against {entrant.name}", breadth.COST, later(_on(plan.device, entrant)))


def _on(device: str, entrant: Entrant) -> Entrant:
    return replace(entrant, pipeline=entrant.pipeline.to(device))
