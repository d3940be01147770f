"""Evaluate a classifier, defended or not: what survives an attacker who knows everything, and whether to trust it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steelman.attacks import AnyAttack, Cascade
from steelman.data import Images
from steelman.evaluation import checks, measure
from steelman.evaluation.pictures import pictured
from steelman.evaluation.planning.attacker import Attacker, probe_pipeline
from steelman.evaluation.planning.threat_groups import ThreatGroup, full_cost, threat_groups
from steelman.evaluation.running.attempt_runner import AttemptRunner
from steelman.evaluation.running.runner import Observer, Options, Runner
from steelman.evaluation.storing.assembly import build_records
from steelman.evaluation.storing.identity import digests, identity
from steelman.evaluation.storing.store import Store
from steelman.pipeline import wrapped
from steelman.records import Check, Evaluation, build


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
    batch: int = 250,
    each: bool = False,
    certify: bool = True,
    curve: bool = True,
    check: bool = True,
    folder: Path | str | None = None,
    fresh: bool = False,
    about: Mapping[str, Any] | None = None,
    observe: Observer | None = None,
) -> Evaluation:
    """Returns what a classifier keeps under attack, and whether that figure can be trusted, as records.

    The attacker knows the whole pipeline. Attacks of one norm and eps are one worst case, each made on what the ones
    before left whole; what is proved is not attacked. An image broken at an eps is broken at every larger one.

    model: a `Pipeline`, or any module from [0, 1] images to logits, with its defence in front if it has one.
    attacks: one or several, each at its own eps.
    undefended: the classifier without its defence; a Pipeline knows its own. Then every attack is also made on it alone
    and the result given to the model: the static figure, which says how the defence does against an attacker who does
    not know of it.
    name, defence: for the report; a Pipeline bears its own.  pictures: how many images of each kind to keep for it.
    batch: images that are worked on together; it changes no verdict.  each: make every attack on every image.
    certify, curve, check: whether to try proofs, other radii, and the trust checks.
    folder: where the run is journaled; a killed run goes on there when it is called again.  fresh: begin again.
    about: JSON values for the report, as the command that began it.
    Raises InputError for images, labels or a model that do not fit, for targeted attacks, and for a folder that cannot
    be written or holds another run.
    """
    started = time.monotonic()
    groups = threat_groups(attacks)
    model = wrapped(
        model,
        undefended,
        classes=images.classes,
        input_shape=images.shape,
        name=name,
        defence=defence or ("none" if undefended is None else "defended"),
    )
    undefended = undefended or model.undefended
    options = Options(seed=seed, batch=batch, each=each, certify=certify, curve=curve, check=check)
    x, y = _first(model, images)
    attacker = probe_pipeline(model, x, y, seed=seed)
    name, label = model.name, model.defence
    names = {"dataset": images.dataset, "classifier": name, "defence": label}
    decides = identity(model, undefended, images, [one for group in groups for one in group.attacks], asdict(options))
    more = {
        "names": names,
        "groups": [_plain(group, attacker, images.num_classes) for group in groups],
        "each": each,
        "stages": [asdict(stage) for stage in attacker.stages],
        "versions": measure.versions(),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
        **(about or {}),
    }
    with Store(None if folder is None else Path(folder), decides, more, fresh=fresh) as store:
        store.list_images(images.indices.tolist(), [images.classes[k] for k in images.labels.tolist()], digests(images))
        attempt_runner = AttemptRunner(attacker, undefended, images, x.device, seed, keeps=folder is not None)
        Runner(attempt_runner, model, groups, store, options, observe).run()
        if check:
            _judge(store, groups)
        spent = float(store.about().get("seconds", 0.0)) + time.monotonic() - started
        store.tell(finished=True, seconds=round(spent, 1))
        cases, rows = build_records(store)
        shown = pictured(store, cases, images, model, undefended, pictures, x.device)
        return Evaluation(
            title=f"{name} on {images.name}" if label == "none" else f"{name} behind {label} on {images.name}",
            rows=rows,
            pictures=shown,
            cases=cases,
            settings=_settings(images, groups, options, decides["pipeline"]["sha256"]) | dict(about or {}),
            versions=store.about()["versions"],
            notes=tuple(_notes(attacker, groups, undefended)),
            seconds=spent,
        )


def _settings(images: Images, groups: tuple[ThreatGroup, ...], options: Options, model: str) -> dict[str, Any]:
    """What a report says of how it was made."""
    return {
        "attacks": [repr(attack) for group in groups for attack in group.attacks],
        **asdict(options),
        "precision": "static in fp32; adaptive searched in bf16 where the device has it, judged in fp32",
        "model SHA-256": model,
        "data": images.name,
    }


def _first(model: nn.Module, images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """The first few images on the model's device, by which its stages are judged, whatever the order they came in."""
    return measure.on(model, images.take(images.indices.argsort()[:32]))


def _plain(group: ThreatGroup, attacker: Attacker, classes: int) -> dict[str, Any]:
    full = sum(full_cost(attack, classes) for attack in group.attacks) * max(1, len(attacker.paths)) * attacker.draws
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
    if undefended is not None and any(isinstance(attack, Cascade) for group in groups for attack in group.attacks):
        notes.append("The static figure beside a cascade is made by PGD on the bare classifier, every step taken.")
    return notes
