"""From a run's journal to records: whoever reads the same journal gets the same records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from steelman.evaluation.intervals import clopper_pearson
from steelman.evaluation.storing.journal import Outcome, Step, StepKind
from steelman.evaluation.storing.sample_outcomes import SampleOutcome, collect
from steelman.evaluation.storing.store import Store
from steelman.records import (
    WORST,
    Breaker,
    Case,
    CertifiedInterval,
    Check,
    Curve,
    Protocol,
    Row,
    Sample,
    Stage,
    Trust,
    Verdict,
    build,
)
from steelman.threat import reach

_POINTS = 24


@dataclass(frozen=True)
class Names:
    """What the pipeline is called in records."""

    dataset: str
    classifier: str
    defence: str


def build_records(store: Store) -> tuple[tuple[Case, ...], tuple[Row, ...]]:
    """Returns the cases and the rows of a run, finished or not, from its journal."""
    about = store.about()
    names = Names(**about["names"])
    clean = {outcome.number: outcome for outcome in store.outcomes(Step(-1, "clean", "", "", StepKind.CLEAN))}
    cases, rows = [], []
    for place, group in enumerate(about["groups"]):
        outcomes_of = collect(store, place, group, about["groups"], clean)
        case = _case(store, place, group, names, clean, outcomes_of, about)
        cases.append(case)
        rows += _rows(store, place, case, clean, outcomes_of, each=about["each"])
    return tuple(cases), (*_clean_rows(names, clean), *rows)


def _case(
    store: Store,
    place: int,
    group: Mapping[str, Any],
    names: Names,
    clean: Mapping[int, Outcome],
    outcomes_of: Mapping[int, SampleOutcome],
    about: Mapping[str, Any],
) -> Case:
    labels, n = store.images(), len(clean)
    samples = tuple(_sample(number, labels[number], clean[number], outcomes_of[number]) for number in sorted(clean))
    kept = sum(sample.kept for sample in samples)
    low, high = clopper_pearson(kept, n)
    found = store.fact(place, "checks")
    checks = build(tuple[Check, ...], found or ())
    verdict = store.fact(place, "verdict")
    breakers = tuple(_breakers(store, place))
    static = sum(bool(sample.static) for sample in samples) if any(s.static is not None for s in samples) else None
    random = any(found.once is not None for found in outcomes_of.values())
    worst = sum(sample.kept and not outcomes_of[sample.index].once for sample in samples) if random else None
    return Case(
        dataset=names.dataset,
        classifier=names.classifier,
        defence=names.defence,
        norm=group["norm"],
        eps=group["eps"],
        n=n,
        clean=sum(sample.clean for sample in samples),
        static=static,
        kept=kept,
        ci_low=low,
        ci_high=high,
        worst=worst,
        spent=sum(one.backwards for one in breakers if one.protocol is Protocol.ADAPTIVE),
        full=group["full"] * n,
        verdict=build(Verdict, verdict) if verdict else _UNCHECKED,
        certified_interval=_certified_interval(store, place, samples),
        curve=_curve(group, samples, about) if group["norm"] != "none" else None,
        checks=checks,
        breakers=breakers,
        stages=build(tuple[Stage, ...], about["stages"]),
        samples=samples,
    )


_UNCHECKED = Verdict(word=Trust.CANNOT_TELL, reasons=("no trust check was made",))


def _sample(number: int, label: str, clean: Outcome, found: SampleOutcome) -> Sample:
    right = not clean.broken
    distance = found.distance if right else 0.0
    return Sample(
        index=number,
        label=label,
        clean=right,
        static=None if found.static is None else right and found.static,
        kept=right and not found.broken,
        certified=None if found.certified is None and right else bool(found.certified and right),
        by=found.by if right and found.broken else "",
        margin=max(found.margin, clean.margin),
        distance=distance if math.isfinite(distance) else None,
        forwards=found.forwards,
        backwards=found.backwards,
        seed=clean.seed,
    )


def _breakers(store: Store, place: int) -> Iterable[Breaker]:
    for step in store.steps(place):
        if step.kind in (StepKind.CERTIFICATE, StepKind.CURVE):
            continue
        outcomes = list(store.outcomes(step))
        parts: Counter[str] = Counter(outcome.by for outcome in outcomes if outcome.broken)
        yield Breaker(
            attack=step.attack,
            through=step.through,
            protocol=Protocol.STATIC if step.kind is StepKind.STATIC else Protocol.ADAPTIVE,
            tried=len(outcomes),
            broke=sum(parts.values()),
            forwards=sum(outcome.forwards for outcome in outcomes),
            backwards=sum(outcome.backwards for outcome in outcomes),
            seconds=round(store.seconds(step), 1),
            parts=tuple(
                one for one in parts.most_common() if one[0] != step.attack and step.kind is not StepKind.STATIC
            ),
        )


def _certified_interval(store: Store, place: int, samples: tuple[Sample, ...]) -> CertifiedInterval:
    attacked = sum(sample.kept for sample in samples)
    why = store.fact(place, "uncertified")
    steps = [step for step in store.steps(place) if step.kind is StepKind.CERTIFICATE]
    if why is not None or not steps:
        return CertifiedInterval(certified=None, attacked=attacked, why=why or "Nobody tried to prove anything.")
    methods: Counter[str] = Counter()
    for step in steps:
        methods.update(outcome.by for outcome in store.outcomes(step) if not outcome.broken)
    return CertifiedInterval(
        certified=sum(bool(sample.certified) for sample in samples), attacked=attacked, methods=tuple(methods.items())
    )


def _curve(group: Mapping[str, Any], samples: tuple[Sample, ...], about: Mapping[str, Any]) -> Curve | None:
    n = len(samples)
    if not n or group["eps"] <= 0:
        return None
    known = sorted(s.distance for s in samples if s.clean and s.distance is not None)
    right = sum(sample.clean for sample in samples)
    top = max([group["eps"], *known[-1:]])
    at = sorted({0.0, group["eps"], *(top * i / (_POINTS - 1) for i in range(_POINTS))})
    points = []
    for eps in at:
        broken = sum(distance <= reach(eps) for distance in known) if eps else 0
        hits = right - broken
        points.append((eps, hits / n, *clopper_pearson(hits, n)))
    half = (right + 1) // 2
    median = known[half - 1] if right and len(known) >= half else None
    classes = Counter(sample.label for sample in samples)
    return Curve(points=tuple(points), chance=max(classes.values()) / n, median=median)


def _row(names: Names, hits: int, n: int, defence: str, protocol: Protocol, attack: str, norm: str, eps: float) -> Row:
    low, high = clopper_pearson(hits, n)
    return Row(
        table="evaluate",
        dataset=names.dataset,
        classifier=names.classifier,
        defence=defence,
        attack=attack,
        eps=eps,
        protocol=protocol,
        n=n,
        accuracy=hits / n,
        ci_low=low,
        ci_high=high,
        norm=norm,
    )


def _clean_rows(names: Names, clean: Mapping[int, Outcome]) -> list[Row]:
    n, hits = len(clean), sum(not outcome.broken for outcome in clean.values())
    if not n:
        return []
    rows = [_row(names, hits, n, names.defence, Protocol.ADAPTIVE, "none", "Linf", 0.0)]
    if names.defence != "none" and any(outcome.bare is not None for outcome in clean.values()):
        bare = sum(not outcome.bare for outcome in clean.values())
        rows.insert(0, _row(names, bare, n, "none", Protocol.STATIC, "none", "Linf", 0.0))
        rows.append(_row(names, hits, n, names.defence, Protocol.STATIC, "none", "Linf", 0.0))
    return rows


def _rows(
    store: Store,
    place: int,
    case: Case,
    clean: Mapping[int, Outcome],
    outcomes_of: Mapping[int, SampleOutcome],
    *,
    each: bool,
) -> list[Row]:
    """The static figures, those of attacks that were made on every image, and the worst of all."""
    names, rows = Names(case.dataset, case.classifier, case.defence), []
    if not case.n:
        return []

    def row(hits: int, defence: str, protocol: Protocol, attack: str) -> Row:
        return _row(names, hits, case.n, defence, protocol, attack, case.norm, case.eps)

    for step in store.steps(place):
        if step.kind is StepKind.STATIC:
            outcomes = list(store.outcomes(step))
            rows.append(row(sum(not one.bare for one in outcomes), "none", Protocol.STATIC, step.attack))
            rows.append(row(sum(not one.broken for one in outcomes), case.defence, Protocol.STATIC, step.attack))
    tried = list(dict.fromkeys(step.attack for step in store.steps(place) if step.kind is StepKind.ADAPTIVE))
    for attack in tried if each or case.norm == "none" else tried[:1]:
        held = sum(
            not (clean[number].broken or found.inherited or found.own.get(attack, False))
            for number, found in outcomes_of.items()
        )
        rows.append(row(held, case.defence, Protocol.ADAPTIVE, attack))
    rows.append(replace(row(case.kept, case.defence, Protocol.ADAPTIVE, WORST), worst_case=True))
    return rows
