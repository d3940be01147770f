"""The cells of the paper's tables: one attack on one data set, as rows and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from steelman import defences, records
from steelman.attacks import Result
from steelman.defences import ConvAutoencoder, guard
from steelman.evaluation import measure
from steelman.evaluation.pictures import made_on, picture
from steelman.evaluation.planning.attacker import DRAWS
from steelman.models import fitted, folded, resize
from steelman.progress import OnProgress, part
from steelman.records import Picture, Row
from steelman.studies import protocols, published
from steelman.studies.measured import kept
from steelman.studies.paper_setup import Found, PaperSetup, Plan
from steelman.studies.protocols import AS_PUBLISHED, STATIC, PaperProtocol
from steelman.victim import Victim

TABLE = {"fgsm": "1a", "pgd": "1b"}
PICTURED = 2
"""How many images of each data set are shown at every eps."""

_WHICH = {"fgsm": "the auto-encoder trained on FGSM", "pgd": "the auto-encoder trained on PGD"}


def clean(plan: Plan, stage: PaperSetup) -> list[Row]:
    """Accuracy without an attack, before and behind each defence."""
    x, y = measure.on(stage.classifier, stage.images)
    unet, bare = guard(stage.unet, stage.classifier), stage.classifier
    rows = []
    if "as-published" in plan.protocols:
        found = _read_published(plan, stage, resize(x, 32), y)
        for attack, table in TABLE.items():
            there = published.undefended(stage.dataset, attack, 0)
            rows.append(_row(plan, stage, table, "none", "none", 0.0, "as-published", found, there))
        found = _read_published(plan, stage, _purified(stage.autoencoders["fgsm"], resize(x, 32)), y)
        rows.append(_row(plan, stage, "2", "conv-autoencoder", "none", 0.0, "as-published", found, note=_WHICH["fgsm"]))
    if "static" in plan.protocols or "adaptive" in plan.protocols:
        without, behind = measure.right(bare, x, y), measure.right(unet, x, y)
        for protocol in ("static", "adaptive"):
            for attack, table in TABLE.items() if protocol in plan.protocols else ():
                if (protocol, table) == ("adaptive", "1a"):
                    continue  # its attacks are PGD
                there = published.undefended(stage.dataset, attack, 0) if protocol == "static" else None
                rows.append(_row(plan, stage, table, "none", "none", 0.0, protocol, without, there))
                rows.append(_row(plan, stage, table, "unet", "none", 0.0, protocol, behind))
    if "static" in plan.protocols:
        found = measure.right(_paper(stage, "fgsm"), x, y, seed=plan.seed)
        rows.append(_row(plan, stage, "2", "none", "none", 0.0, "static", without))
        rows.append(_row(plan, stage, "2", "conv-autoencoder", "none", 0.0, "static", found, note=_WHICH["fgsm"]))
        rows.append(_row(plan, stage, "2", "unet", "none", 0.0, "static", behind))
    return rows


def as_published(plan: Plan, stage: PaperSetup, attack: str, all_eps: Sequence[float], progress: OnProgress) -> Found:
    """As the paper measured; behind its auto-encoder at the eps of table 2."""
    x, y = measure.on(stage.published, stage.images)
    rows = []
    for eps, result in _results(
        plan, AS_PUBLISHED, stage.published, resize(x, 32), y, attack, all_eps, progress
    ).items():
        there = published.undefended(stage.dataset, attack, eps)
        rows.append(_row(plan, stage, TABLE[attack], "none", attack, eps, "as-published", ~result.broken, there))
        if published.DEFENDED[attack] == eps:
            rows.append(_row(plan, stage, "2", "none", attack, eps, "as-published", ~result.broken, there))
            found = _read_published(plan, stage, _purified(stage.autoencoders[attack], result.x), y)
            there, note = published.guarded(stage.dataset, attack, eps), _WHICH[attack]
            rows.append(_row(plan, stage, "2", "conv-autoencoder", attack, eps, "as-published", found, there, note))
    return rows, []


def static(plan: Plan, stage: PaperSetup, attack: str, all_eps: Sequence[float], progress: OnProgress) -> Found:
    """The attack sees the classifier alone; every defence then gets what it made."""
    x, y = measure.on(stage.classifier, stage.images)
    rows: list[Row] = []
    shown: list[Picture] = []
    for eps, result in _results(plan, STATIC, stage.classifier, x, y, attack, all_eps, progress).items():
        there = published.undefended(stage.dataset, attack, eps)
        behind = measure.right(guard(stage.unet, stage.classifier), result.x, y)
        for table in [TABLE[attack], "2"] if published.DEFENDED[attack] == eps else [TABLE[attack]]:
            rows.append(_row(plan, stage, table, "none", attack, eps, "static", ~result.broken, there))
            rows.append(_row(plan, stage, table, "unet", attack, eps, "static", behind))
        if published.DEFENDED[attack] == eps:
            found = measure.right(_paper(stage, attack), result.x, y, seed=plan.seed)
            there, note = published.guarded(stage.dataset, attack, eps), _WHICH[attack]
            rows.append(_row(plan, stage, "2", "conv-autoencoder", attack, eps, "static", found, there, note))
        shown += _pictures(plan, stage, attack, eps, "static", result.x)
    return rows, shown


def _results(
    plan: Plan,
    protocol: PaperProtocol,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: str,
    all_eps: Sequence[float],
    progress: OnProgress,
) -> dict[float, Result]:
    if attack == "pgd":
        return protocol.sweep(model, x, y, all_eps, seed=plan.seed, progress=progress)
    parts = [(eps, part(progress, at, len(all_eps))) for at, eps in enumerate(all_eps)]
    return {
        eps: protocol.run(protocol.attack(attack, eps), model, x, y, seed=plan.seed, progress=told)
        for eps, told in parts
    }


def adaptive(plan: Plan, stage: PaperSetup, attack: str, all_eps: Sequence[float], progress: OnProgress) -> Found:
    """The worst of the adaptive attacks, through the whole pipeline, at one eps."""
    (eps,) = all_eps
    pipelines: dict[str, nn.Module] = {"none": stage.classifier, "unet": guard(stage.unet, stage.classifier)}
    meant = next((name for name, own in published.DEFENDED.items() if own == eps), None)
    if meant is not None:
        pipelines["conv-autoencoder"] = _paper(stage, meant)
    in_tables = [table for table, has in (("1b", eps in published.PGD_EPS), ("2", meant is not None)) if has]
    rows: list[Row] = []
    shown: list[Picture] = []
    for at, (name, pipeline) in enumerate(pipelines.items()):
        told = part(progress, at, len(pipelines))
        val = kept(pipeline, stage.images, protocols.adaptive(eps), seed=plan.seed, progress=told)
        random = name == "conv-autoencoder"
        note = f"{_WHICH[meant]}; judged by the mean of {DRAWS} answers" if meant and random else ""
        for table in ["2"] if random else in_tables:
            rows.append(_row(plan, stage, table, name, attack, eps, "adaptive", val, note=note))
        if name == "unet":
            few = stage.images.take(torch.arange(min(PICTURED, len(stage.images))))
            x_adv = made_on(pipeline, few, protocols.adaptive(eps)[0], seed=plan.seed)
            shown = _pictures(plan, stage, attack, eps, "adaptive", x_adv)
    return rows, shown


def _pictures(plan: Plan, stage: PaperSetup, attack: str, eps: float, protocol: str, x_adv: Tensor) -> list[Picture]:
    """The same first images at every eps, so that a reader can follow one."""
    return [
        picture(
            stage.images,
            place,
            x_adv[place],
            stage.unet,
            stage.classifier,
            classifier=plan.classifier,
            defence="unet",
            attack=attack,
            eps=eps,
            protocol=records.Protocol(protocol),
        )
        for place in range(min(PICTURED, len(stage.images)))
    ]


def table3(plan: Plan, stage: PaperSetup) -> list[Row]:
    """Accuracy under FGSM at the paper's eps and the time for one image: its rivals, its own defence and ours.

    A defence that searches for every image is asked about a tenth of them.
    """
    eps = published.DEFENDED["fgsm"]
    x, y = measure.on(stage.classifier, stage.images)
    x_adv = STATIC.run(STATIC.attack("fgsm", eps), stage.classifier, x, y, seed=plan.seed).x
    clean = measure.right(stage.classifier, x, y)
    without = published.undefended(stage.dataset, "fgsm", 0)
    rows = [_row(plan, stage, "3", "none", "none", 0.0, "static", clean, without)]
    there = published.RIVALS | {
        "none": published.undefended(stage.dataset, "fgsm", eps),
        "conv-autoencoder": published.guarded(stage.dataset, "fgsm", eps),
    }
    for name, pipeline in _compared(stage).items():
        asked = slice(0, max(1, len(x) // 10)) if name in SEARCHING else slice(None)
        for protocol, attack, images in (("static", "none", x), ("static", "fgsm", x_adv)):
            if attack == "none" and name == "none":
                continue
            found = measure.right(pipeline, images[asked], y[asked], seed=plan.seed)
            strength = eps if attack == "fgsm" else 0.0
            row = _row(plan, stage, "3", name, attack, strength, protocol, found, there.get(name) if strength else None)
            rows.append(_timed(row, folded(pipeline), x[:1], name) if strength else row)
    return rows


SEARCHING = frozenset({"defense-gan"})
"""Defences that search for every image."""


def _compared(stage: PaperSetup) -> dict[str, nn.Module]:
    """Every purifier that ships for the data set before the classifier, the paper's own for FGSM."""
    pipelines = {
        "none": stage.classifier,
        "conv-autoencoder": _paper(stage, "fgsm"),
        "unet": guard(stage.unet, stage.classifier),
    }
    for name in defences.shipped():
        where, _, own = name.partition("/")
        if where == stage.dataset and own not in pipelines and not own.startswith("conv-autoencoder"):
            pipelines[own] = guard(defences.load(name).to(stage.images.x.device), stage.classifier)
    return pipelines


def _timed(row: Row, pipeline: nn.Module, x: Tensor, name: str) -> Row:
    """With the time for one image; of a search, which takes long enough to be timed a few times."""
    runs = {"warm_up": 1, "runs": 5} if name in SEARCHING else {}
    said = f"the paper says {there:g} ms, on its machine" if (there := published.LATENCY_MS.get(name)) else ""
    few = f"it searches for every image: {row.n} images" if name in SEARCHING else ""
    return replace(
        row,
        latency_ms=round(measure.latency(pipeline, x, **runs), 3),
        threads=torch.get_num_threads(),
        note="; ".join(filter(None, (said, few))),
    )


def _paper(stage: PaperSetup, attack: str) -> nn.Module:
    """The paper's auto-encoder for one attack before the classifier, on images as they are."""
    return guard(fitted(stage.autoencoders[attack], stage.images.shape), stage.classifier)


def _read_published(plan: Plan, stage: PaperSetup, x: Tensor, y: Tensor) -> Tensor:
    protocol = AS_PUBLISHED
    return measure.right(stage.published, x, y, mode=protocol.mode, seed=plan.seed, batch=protocol.slots or len(x))


def _purified(autoencoder: ConvAutoencoder, x: Tensor) -> Tensor:
    with Victim(autoencoder, device=x.device), torch.no_grad():
        return torch.cat([autoencoder.reconstructed(part) for part in x.split(64)])


def _row(
    plan: Plan,
    stage: PaperSetup,
    table: str,
    defence: str,
    attack: str,
    eps: float,
    protocol: str,
    found: Tensor,
    there: float | None = None,
    note: str = "",
) -> Row:
    return measure.row(
        found,
        table=table,
        dataset=stage.dataset,
        classifier=plan.classifier,
        defence=defence,
        attack=attack,
        eps=eps,
        protocol=protocol,
        published=there,
        note=note,
    )
