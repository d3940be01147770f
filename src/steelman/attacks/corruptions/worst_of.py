"""The common corruptions as an attack: the worst of noise, blur, weather and storage, or each of them for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.cascade import Cascade
from steelman.attacks.corruptions.distortions import SEVERITIES, kinds
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks
from steelman.errors import InputError, unknown
from steelman.norms import Ball, Linf
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Mode, Victim, check

SLOTS = 128
"""Images in the model at once where each corruption is measured for itself."""


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """Shows every sample under one kind of corruption, at one severity after another.

    kind: by its name in distortions.kinds.
    """

    kind: str
    severities: tuple[int, ...]

    asks: ClassVar[Asks] = Asks.NOTHING
    queries: ClassVar[None] = None

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Looks once at each severity, those that hold alone."""
        for severity in self.severities:
            rows = (~oracle.done).nonzero().squeeze(1)
            if not len(rows):
                break
            own = Streams(oracle.problem.streams.key[rows])
            oracle.look(rows, _corrupted(self.kind, severity, oracle.problem.x[rows], own))
            tell()


def corruptions(
    threat: Threat | Ball | None = None,
    *,
    severities: int | Sequence[int] = SEVERITIES,
    only: Sequence[str] | None = None,
) -> Cascade:
    """Returns the worst of the common corruptions: an image is broken if any of them breaks it, `by` says which.

    For images (N, 1 or 3, H, W) in [0, 1]. It is no attack inside a ball; its distance is the largest change of a
    pixel. No step is chosen by what the model says, so each image is what a camera might give.
    severities: 1 to 5, tried in this order; all unless told.
    only: names of distortions.kinds; all unless told, but for colours alone those that grey images have too.
    threat: a grid of levels, or a ball to stay in as well.
    Raises InputError for another name or severity.
    Source: Hendrycks & Dietterich 2019 (Benchmarking neural network robustness to common corruptions and
    perturbations), section 3; their numbers are in distortions.py.
    """
    threat = Threat(Linf()) if threat is None else Threat.of(threat)
    if (threat.low, threat.high) != (0, 1):
        raise InputError(f"expected a box from 0 to 1 for corruptions, got [{threat.low:g}, {threat.high:g}]")
    order = _severities(severities)
    attacks = tuple(
        Attack(name=name, threat=threat, rule=Corrupted(kind=name, severities=order)) for name in _names(only)
    )
    return Cascade(name="corruptions", threat=threat, attacks=attacks)


def accuracies(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    severities: int | Sequence[int] = SEVERITIES,
    only: Sequence[str] | None = None,
    seed: int = 0,
    indices: Tensor | None = None,
    mode: Mode = "eval",
) -> dict[str, dict[int, float]]:
    """Returns the accuracy under each corruption at each severity, by name and number; one minus it is the paper's E.

    Every image is corrupted, also one that is misclassified clean; a tie between two classes is no right answer.
    Arguments and errors as of `corruptions` and of an attack.
    """
    check(x, y)
    names, order = _names(only), _severities(severities)
    indices = torch.arange(len(x), device=x.device) if indices is None else indices.to(x.device)
    streams, right = Streams.of(seed, indices), dict[str, dict[int, float]]()
    with torch.no_grad(), Victim(model, mode=mode, seed=seed, device=x.device) as victim:
        for name in names:
            right[name] = {}
            for severity in order:
                held = 0
                for rows in torch.arange(len(x), device=x.device).split(SLOTS):
                    shown = _corrupted(name, severity, x[rows], Streams(streams.key[rows]))
                    labels = y[rows].to(x.device)
                    held += int((victim.margin(victim.logits(shown, labels), labels) <= 0).sum())
                right[name][severity] = held / len(x)
    return right


def _corrupted(kind: str, severity: int, x: Tensor, streams: Streams) -> Tensor:
    return kinds[kind](x, severity, streams.derive(kind))


def _names(only: Sequence[str] | None) -> tuple[str, ...]:
    """All that images of any colours have, or those that were asked for."""
    if only is None:
        return tuple(name for name, kind in kinds.items() if not kind.colour)
    for name in only:
        if name not in kinds:
            raise unknown("corruption", name, kinds)
    if isinstance(only, str) or not only:
        raise InputError(f"expected a list of corruptions, got {only!r}")
    return tuple(only)


def _severities(severities: int | Sequence[int]) -> tuple[int, ...]:
    order = (severities,) if isinstance(severities, int) else tuple(severities)
    wrong = [severity for severity in order if isinstance(severity, bool) or severity not in SEVERITIES]
    if wrong or not order:
        raise InputError(f"expected severities from 1 to 5, got {severities!r}")
    return order
