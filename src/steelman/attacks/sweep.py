"""One attack at many radii, sharing the work that its meaning allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from steelman.attacks.attack_like import AttackLike, Result
from steelman.attacks.engine.goals import Finds
from steelman.attacks.engine.problem import put
from steelman.errors import InputError
from steelman.progress import OnProgress, part


def sweep(
    attack: AttackLike,
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    all_eps: Sequence[float],
    *,
    own: bool = False,
    indices: Tensor | None = None,
    progress: OnProgress | None = None,
    **settings: Any,
) -> dict[float, Result]:
    """Returns the result of an attack at each radius, the smallest first: the points of a worst-case curve.

    An image broken at a radius is broken at every larger one, so it is attacked no more; one that holds is begun at its
    worst image so far by attacks that start at given images. An attack that looks for the smallest change runs once.
    own: run the attack afresh at every radius instead, for figures that are the named attack's own.
    Other arguments are the attack's. forwards and backwards are what each radius added.
    Raises InputError for no radius, and as the attack does.
    """
    radii = sorted(set(all_eps))
    if not radii:
        raise InputError("expected at least one eps, got none")
    indices = torch.arange(len(x), device=x.device) if indices is None else indices.to(x.device)
    if own:
        every = ((at, eps, part(progress, at, len(radii))) for at, eps in enumerate(radii))
        return {eps: attack.at(eps)(model, x, y, indices=indices, progress=told, **settings) for at, eps, told in every}
    if attack.finds is Finds.NEAREST:
        whole = attack.at(radii[-1])(model, x, y, indices=indices, progress=progress, **settings)
        return {eps: _within(whole, x, eps, attack, first=eps == radii[0]) for eps in radii}
    return _climb(attack, model, x, y, radii, indices, progress, settings)


def _climb(
    attack: AttackLike,
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    radii: list[float],
    indices: Tensor,
    progress: OnProgress | None,
    settings: dict[str, Any],
) -> dict[float, Result]:
    found: dict[float, Result] = {}
    known: Result | None = None
    for at, eps in enumerate(radii):
        ids = torch.arange(len(x), device=x.device) if known is None else (~known.broken).nonzero().squeeze(1)
        if known is not None:
            zeros = torch.zeros_like(known.forwards)
            known = known._replace(forwards=zeros, backwards=zeros.clone())
            known = Result(*(field.clone() for field in known))
        if len(ids):
            begun = settings if known is None else settings | {"begin": known.x[ids]}
            told = part(progress, at, len(radii))
            here = attack.at(eps)(model, x[ids], y[ids], indices=indices[ids], progress=told, **begun)
            if known is None:
                known = here
            else:
                put(known, ids, here)
        assert known is not None
        found[eps] = known
    return found


def _within(whole: Result, x: Tensor, eps: float, attack: AttackLike, *, first: bool) -> Result:
    """What a search for the smallest change says of one radius; all its cost stands at the first."""
    inside = whole.broken & attack.threat.at(eps).reaches(whole.distance)
    column = inside.view(-1, *[1] * (x.dim() - 1))
    cost = 1 if first else 0
    return whole._replace(
        x=torch.where(column, whole.x, x),
        broken=inside,
        margin=torch.where(inside, whole.margin, whole.margin.clamp(max=0)),
        distance=torch.where(inside, whole.distance, 0),
        forwards=whole.forwards * cost,
        backwards=whole.backwards * cost,
        by=torch.where(inside, whole.by, -1),
    )
