"""Evaluate a classifier, defended or not: what survives an attacker who knows everything, and whether to trust it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steelman.attacks import AttackLike
from steelman.data import Images
from steelman.evaluation import checks, measure
from steelman.evaluation.former import takes_former
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.evaluation.pictures import pictured
from steelman.evaluation.planning.attacker import Attacker, probe_pipeline
from steelman.evaluation.planning.threat_groups import ThreatGroup, threat_groups
from steelman.evaluation.running.attempt_runner import AttemptRunner
from steelman.evaluation.running.runner import Runner
from steelman.evaluation.storing.assembly import build_records
from steelman.evaluation.storing.identity import digests, identity
from steelman.evaluation.storing.store import Store
from steelman.pipeline import Pipeline, wrapped
from steelman.progress import OnProgress
from steelman.records import Check, Evaluation, build

DEFAULT = EvaluationOptions()
"""Proofs, a curve and the trust checks, with seed 0."""


@takes_former
def evaluate(
    pipeline: nn.Module | Defended,
    data: Images,
    attacks: AttackLike | Sequence[AttackLike],
    options: EvaluationOptions = DEFAULT,
    *,
    folder: Path | str | None = None,
    fresh: bool = False,
    about: Mapping[str, Any] | None = None,
    progress: OnProgress | None = None,
) -> Evaluation:
    """Returns what a pipeline keeps under attack, and whether that figure can be trusted, as records.

    The attacker knows the whole pipeline. Attacks of one norm and eps are one worst case, each made on what the ones
    before left whole; what is proved is not attacked. An image broken at an eps is broken at every larger one.

    pipeline: a `Pipeline`, or any module from [0, 1] images to logits, with its defence in front if it has one, or
    `Defended`. Where it is known what it is without its defence, every attack is also made on that alone and the result
    given to the pipeline: the static figure, which says how it does against one who does not know of the defence.
    attacks: one or several, each at its own eps.
    folder: where the run is journaled; a killed run goes on there when it is called again.  fresh: begin again.
    about: JSON values for the report, as the command that began it.  progress: hears how far it is.
    Raises InputError for images, labels or a model that do not fit, for targeted attacks, and for a folder that cannot
    be written or holds another run.
    """
    started = time.monotonic()
    groups = threat_groups(attacks)
    checks.named(options.extra_checks)  # before anything is done
    model, undefended = _parts(pipeline, data)
    x, y = _first(model, data)
    attacker = probe_pipeline(model, x, y, seed=options.seed)
    decides = identity(model, undefended, data, [one for group in groups for one in group.attacks], options.deciding())
    more = {
        "names": {"dataset": data.dataset, "classifier": model.name, "defence": model.defence},
        "groups": [_plain(group, attacker, data.num_classes) for group in groups],
        "each": options.each,
        "stages": [asdict(stage) for stage in attacker.stages],
        "versions": measure.versions(),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
        **(about or {}),
    }
    with Store(None if folder is None else Path(folder), decides, more, fresh=fresh) as store:
        store.list_images(data.indices.tolist(), [data.classes[k] for k in data.labels.tolist()], digests(data))
        attempt_runner = AttemptRunner(attacker, undefended, data, x.device, options.seed, keeps=folder is not None)
        Runner(attempt_runner, model, groups, store, options, progress).run()
        if options.check or options.extra_checks:
            _judge(store, groups)
        spent = round(float(store.about().get("seconds", 0.0)) + time.monotonic() - started, 1)
        store.tell(finished=True, seconds=spent)
        cases, rows = build_records(store)
        shown = pictured(store, cases, data, model, undefended, options.pictures, x.device)
        behind = "" if model.defence == "none" else f" behind {model.defence}"
        return Evaluation(
            title=f"{model.name}{behind} on {data.name}",
            rows=rows,
            pictures=shown,
            cases=cases,
            settings=_settings(data, groups, options, decides["pipeline"]["sha256"]) | dict(about or {}),
            versions=store.about()["versions"],
            notes=tuple(_notes(attacker, groups, undefended)),
            seconds=spent,
        )


def _parts(pipeline: nn.Module | Defended, data: Images) -> tuple[Pipeline, nn.Module | None]:
    """The pipeline with what it knows of the data, and the classifier without its defence."""
    undefended = pipeline.undefended if isinstance(pipeline, Pipeline | Defended) else None
    model = wrapped(
        pipeline.pipeline if isinstance(pipeline, Defended) else pipeline,
        undefended,
        classes=data.classes,
        input_shape=data.shape,
        defence="none" if undefended is None else "defended",
    )
    model.check(data.shape, data.classes)
    return model, undefended


def _settings(
    images: Images, groups: tuple[ThreatGroup, ...], options: EvaluationOptions, model: str
) -> dict[str, Any]:
    """What a report says of how it was made."""
    return {
        "attacks": [repr(attack) for group in groups for attack in group.attacks],
        **options.deciding(),
        "precision": "static in fp32; adaptive searched in bf16 where the device has it, judged in fp32",
        "model SHA-256": model,
        "data": images.name,
    }


def _first(model: nn.Module, images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """The first few images on the model's device, by which its stages are judged, whatever the order they came in."""
    return measure.on(model, images.take(images.indices.argsort()[:32]))


def _plain(group: ThreatGroup, attacker: Attacker, classes: int) -> dict[str, Any]:
    full = sum(attack.cost(classes) for attack in group.attacks) * max(1, len(attacker.paths)) * attacker.draws
    return {"norm": group.norm, "eps": group.eps, "full": full, "title": group.title}


def _judge(store: Store, groups: tuple[ThreatGroup, ...]) -> None:
    cases, _ = build_records(store)
    for group, case in zip(groups, cases, strict=True):
        found = build(tuple[Check, ...], store.fact(group.place, "checks") or ())
        judged = checks.verdict(found, n=case.n, kept=case.kept, proved=case.certified_interval.certified or 0)
        store.keep(group.place, "verdict", asdict(judged))


def _notes(attacker: Attacker, groups: tuple[ThreatGroup, ...], undefended: nn.Module | None) -> list[str]:
    notes = ["The adaptive figure is what counts: its attacker goes through the whole pipeline."]
    if attacker.random:
        notes.append(
            f"The model answers differently when asked twice: its attackers average {attacker.draws} answers (EOT)."
        )
    stood_in = any(attack.oblivious().name != attack.name for group in groups for attack in group.attacks)
    if undefended is not None and stood_in:
        notes.append("The static figure beside a cascade is made by PGD on the bare classifier, every step taken.")
    return notes
