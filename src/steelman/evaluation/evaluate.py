"""Evaluate a classifier, defended or not: static and adaptive side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from steelman.attacks import AnyAttack, Cascade, Nearest, Progress, Worst
from steelman.data import Images
from steelman.errors import InputError
from steelman.evaluation import measure
from steelman.evaluation.pictures import picture
from steelman.evaluation.records import WORST, Evaluation, Picture, Row
from steelman.weights import digest


@dataclass(frozen=True)
class Now:
    """What an observer hears: which attack is running, as one of how many, and how far it is."""

    title: str
    at: int
    of: int
    progress: Progress


Observer = Callable[[Now], None]


def evaluate(
    model: nn.Module,
    images: Images,
    attacks: AnyAttack | Sequence[AnyAttack],
    *,
    undefended: nn.Module | None = None,
    name: str = "model",
    defence: str | None = None,
    seed: int = 0,
    pictures: int = 4,
    observe: Observer | None = None,
) -> Evaluation:
    """Returns what a classifier keeps under attack, as records that save as a report.

    model: from [0, 1] images to logits; with its defence in front, if it has one.
    attacks: one or several, each at its own eps.
    undefended: the classifier without its defence. Then every attack is also made on it alone and the result given to
    the model: the static figure, which says how the defence does against an attacker who does not know of it.
    defence: its name for the report.  pictures: how many images to keep for it, from each attack.
    Raises InputError for images, labels or a model that do not fit, and for targeted attacks.
    """
    started = time.monotonic()
    listed = tuple(attacks) if isinstance(attacks, Sequence) else (attacks,)
    if not listed:
        raise InputError("expected at least one attack, got none")
    if any(attack.targeted for attack in listed):
        raise InputError("expected untargeted attacks, got a targeted one: its labels would be wanted classes")
    label = defence or ("defended" if undefended is not None else "none")
    bench = _Bench(model, undefended, images, name, label, seed, pictures)
    rows = _clean(bench)
    shown: list[Picture] = []
    survivors: dict[tuple[str, float], list[tuple[AnyAttack, Tensor]]] = {}
    for at, attack in enumerate(listed):
        hear = None if observe is None else _relay(observe, attack, at, len(listed))
        found, kept, holds = _attacked(bench, attack, hear)
        rows += found
        shown += kept
        if _bounded(attack):
            survivors.setdefault((attack.threat.ball.name, _eps(attack)), []).append((attack, holds))
    for several in survivors.values():
        if len(several) > 1:
            all_hold = torch.stack([holds for _, holds in several]).all(0)
            rows.append(bench.row(all_hold, label, several[0][0], "adaptive", name=WORST))
    notes = ["The adaptive figure is what counts: its attacker goes through the whole pipeline."]
    if measure.is_random(model, *measure.on(model, images)):
        notes.append(
            f"The model answers differently when asked twice: its attackers average {measure.DRAWS} answers (EOT)."
        )
    if undefended is not None and any(isinstance(attack, Cascade) for attack in listed):
        notes.append(
            "The static figure of a cascade is made with the first image that broke the classifier, which is the least "
            "that could be done to it: a defence in front may look good for that alone."
        )
    settings = {
        "attacks": [repr(attack) for attack in listed],
        "seed": seed,
        "precision": "static in fp32; adaptive searched in bf16 where the device has it, judged in fp32",
        "model SHA-256": digest(model),
        "data": images.name,
    }
    return Evaluation(
        title=f"{name} on {images.name}",
        rows=tuple(rows),
        pictures=tuple(shown),
        settings=settings,
        versions=measure.versions(),
        notes=tuple(notes),
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class _Bench:
    model: nn.Module
    undefended: nn.Module | None
    images: Images
    name: str
    defence: str
    seed: int
    pictures: int

    def row(
        self, correct: Tensor, defence: str, attack: AnyAttack | None, protocol: str, name: str | None = None
    ) -> Row:
        """The record of a cell; no attack means clean images."""
        return measure.row(
            correct,
            table="evaluate",
            dataset=self.images.name.removesuffix(" test"),
            classifier=self.name,
            defence=defence,
            attack=name or (attack.name if attack else "none"),
            eps=_eps(attack) if attack else 0.0,
            protocol=protocol,
            norm=_norm(attack) if attack else "Linf",
        )


def _relay(observe: Observer, attack: AnyAttack, at: int, of: int) -> Callable[[Progress], None]:
    title = f"{attack.name} {attack.threat.ball.name} {_eps(attack):g}" if _bounded(attack) else attack.name
    return lambda progress: observe(Now(title, at, of, progress))


def _eps(attack: AnyAttack) -> float:
    eps = attack.threat.eps
    if isinstance(eps, Tensor) and eps.dim():
        raise InputError("expected one eps for every image in an evaluation, got one for each: evaluate them apart")
    if math.isfinite(float(eps)):
        return float(eps)
    if isinstance(getattr(attack, "goal", None), Nearest):
        raise InputError(f"expected a radius for {attack.name}, as what breaks inside it is counted: say eps, or --eps")
    return 0.0


def _norm(attack: AnyAttack) -> str:
    """The norm that an attack is measured in, "none" where no ball describes it."""
    return attack.threat.ball.name if _bounded(attack) else "none"


def _bounded(attack: AnyAttack) -> bool:
    eps = attack.threat.eps
    return isinstance(eps, Tensor) or math.isfinite(eps)


def _clean(bench: _Bench) -> list[Row]:
    x, y = measure.on(bench.model, bench.images)
    behind = measure.right(bench.model, x, y, seed=bench.seed)
    rows = [bench.row(behind, bench.defence, None, "adaptive")]
    if bench.undefended is not None:
        rows.insert(0, bench.row(measure.right(bench.undefended, x, y), "none", None, "static"))
        rows.append(bench.row(behind, bench.defence, None, "static"))
    return rows


def _attacked(
    bench: _Bench, attack: AnyAttack, hear: Callable[[Progress], None] | None
) -> tuple[list[Row], list[Picture], Tensor]:
    """The rows and pictures of one attack, and which images survive it."""
    x, y = measure.on(bench.model, bench.images)
    rows: list[Row] = []
    if bench.undefended is not None:
        # a cascade with every step taken would cost as much for every image as for the hardest
        crafted = attack if isinstance(attack, Cascade) else attack.with_goal(Worst())
        result = crafted(bench.undefended, x, y, seed=bench.seed, indices=bench.images.indices, observe=hear)
        rows.append(bench.row(~result.broken, "none", attack, "static"))
        kept = measure.right(bench.model, result.x, y, seed=bench.seed, abstention="right")
        rows.append(bench.row(kept, bench.defence, attack, "static"))
    kept, worst = measure.survive(
        [attack], bench.model, x, y, indices=bench.images.indices, seed=bench.seed, observe=hear
    )
    rows.append(bench.row(kept, bench.defence, attack, "adaptive"))
    return rows, _pictures(bench, attack, worst, ~kept), kept


def _pictures(bench: _Bench, attack: AnyAttack, hurt: Tensor, broken: Tensor) -> list[Picture]:
    """Broken images first: they are what a reader wants to see."""
    order = torch.argsort(broken.int(), descending=True, stable=True)[: bench.pictures].tolist()
    purifier = bench.model[0] if bench.undefended is not None and isinstance(bench.model, nn.Sequential) else None
    classifier = bench.undefended if bench.undefended is not None else bench.model
    return [
        picture(
            bench.images,
            place,
            hurt[place],
            purifier,
            classifier,
            classifier_name=bench.name,
            defence=bench.defence,
            attack=attack.name,
            eps=_eps(attack),
            protocol="adaptive",
        )
        for place in order
    ]
