"""Small evaluations whose every verdict, margin and cost is on record.

Each scene takes a number of images and returns tables of plain columns. All that it needs of steelman is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import steelman as sm
from steelman import attacks, data, defences, losses, models
from steelman.defences import detectors
from steelman.evaluation.options import EvaluationOptions
from steelman.pipeline import Pipeline

Table = dict[str, list[Any]]
"""Columns by name, all of one length."""

SEED = 0
QUERIES = 60
SAMPLE = ("index", "clean", "static", "kept", "certified", "by", "margin", "distance", "forwards", "backwards")
ATTEMPT = ("protocol", "attack", "tried", "broke", "forwards", "backwards")


@cache
def _data(dataset: str) -> data.Data:
    return data.load(dataset)


def _images(dataset: str, n: int) -> data.Images:
    return _data(dataset).test.sample(n, SEED)


def _guarded(purifier: nn.Module, classifier: nn.Module) -> nn.Module:
    return Pipeline(classifier, purifier=purifier).eval()


def _evaluated(model: nn.Module, images: data.Images, listed: list[Any], **options: Any) -> dict[str, Table]:
    """The tables of an evaluation; proofs, checks and other radii are left out unless asked for."""
    chosen = {"certify": False, "check": False, "curve": False, **options}
    evaluation = sm.evaluate(model, images, listed, EvaluationOptions(seed=SEED, pictures=0, **chosen))
    tables: dict[str, Table] = {}
    for case in evaluation.cases:
        title = f"{case.norm} {case.eps:g}"
        tables[title] = _columns(case.samples, SAMPLE)
        tables[title]["by"] = [one.by if one.clean else "misread" for one in case.samples]
        tables[f"{title}, attempts"] = _columns(case.breakers, ATTEMPT)
        if case.checks:
            tables[f"{title}, checks"] = _columns(case.checks, ("name", "outcome"))
        if options.get("curve"):
            points = zip(*case.curve.points, strict=True)
            tables[f"{title}, curve"] = {
                name: list(column) for name, column in zip(("eps", "accuracy", "low", "high"), points, strict=True)
            }
    return tables


def _columns(records: tuple[Any, ...], names: tuple[str, ...]) -> Table:
    """Values by name; an enumeration as its text, as it stands in a file."""
    columns = {name: [getattr(one, name) for one in records] for name in names}
    return {name: [str(one) if isinstance(one, str) else one for one in column] for name, column in columns.items()}


def _attacked(attack: Any, model: nn.Module, x: Tensor, y: Tensor, indices: Tensor, **settings: Any) -> Table:
    """What an attack that is called directly finds."""
    found = attack(model, x, y, seed=SEED, indices=indices, **settings)
    names = ("broken", "natural", "margin", "distance", "forwards", "backwards")
    return {"index": indices.tolist(), **{name: getattr(found, name).tolist() for name in names}}


def plain(n: int) -> dict[str, Table]:
    """Returns what two attacks leave of the plain classifier at two radii, and what can be proved."""
    listed = [
        made
        for eps in (0.03, 0.1)
        for made in (attacks.pgd(sm.Linf(eps), steps=20), attacks.square(sm.Linf(eps), queries=QUERIES))
    ]
    return _evaluated(models.load("mnist/cnn"), _images("mnist", n), listed, certify=True)


def checked(n: int) -> dict[str, Table]:
    """Returns what one attack leaves of a classifier trained to hold, with the trust checks."""
    listed = [attacks.pgd(sm.Linf(0.3), steps=20)]
    return _evaluated(models.load("mnist/lenet-linf"), _images("mnist", n), listed, check=True)


def robust(n: int) -> dict[str, Table]:
    """Returns what the cascade leaves of a classifier trained to hold."""
    listed = [attacks.standard(sm.Linf(0.1), queries=QUERIES)]
    return _evaluated(models.load("fashion-mnist/lenet-linf"), _images("fashion-mnist", n), listed, certify=True)


def shortest(n: int) -> dict[str, Table]:
    """Returns what searches for the smallest change in L2 find, with the curve over eps."""
    listed = [attacks.ddn(sm.L2(2.0), steps=40), attacks.fmn(sm.L2(2.0), steps=40)]
    return _evaluated(models.load("mnist/lenet-l2"), _images("mnist", n), listed, curve=True)


def exact(n: int) -> dict[str, Table]:
    """Returns what is left of a purifier with an exact gradient."""
    classifier = models.load("mnist/cnn")
    listed = [attacks.pgd(sm.Linf(0.06), steps=10), attacks.apgd(sm.Linf(0.06), steps=20)]
    pipeline = _guarded(defences.load("mnist/unet"), classifier)
    return _evaluated(pipeline, _images("mnist", n), listed)


def bpda(n: int) -> dict[str, Table]:
    """Returns what is left of a transform without a gradient, which is attacked as the identity."""
    classifier = models.load("fashion-mnist/cnn")
    listed = [attacks.pgd(sm.Linf(0.02), steps=20), attacks.square(sm.Linf(0.02), queries=QUERIES)]
    pipeline = _guarded(defences.build("bit-depth"), classifier)
    return _evaluated(pipeline, _images("fashion-mnist", n), listed)


def random(n: int) -> dict[str, Table]:
    """Returns what is left of a random transform, which is attacked through the mean of its answers."""
    classifier = models.load("mnist/cnn")
    listed = [attacks.pgd(sm.Linf(0.1), steps=10)]
    pipeline = _guarded(defences.build("resize-pad"), classifier)
    return _evaluated(pipeline, _images("mnist", n), listed)


def stand_in(n: int) -> dict[str, Table]:
    """Returns what is left of a purifier that is attacked through what it offers in its place, and what is proved."""
    classifier = models.load("fashion-mnist/cnn")
    listed = [attacks.pgd(sm.Linf(0.1), steps=20)]
    pipeline = _guarded(defences.load("fashion-mnist/certified-autoencoder"), classifier)
    return _evaluated(pipeline, _images("fashion-mnist", n), listed, certify=True)


def rejecting(n: int) -> dict[str, Table]:
    """Returns what is left of a classifier that abstains where a detector is suspicious, in Linf and in L2.

    Longer searches end elsewhere on another kind of CPU, and verdicts have to be the same there.
    """
    classifier = models.load("mnist/cnn")
    detector = detectors.load("mnist/combined", classifier, defences.load("mnist/unet"))
    _, val = _data("mnist").split(SEED)
    gate = defences.reject(detector, classifier, 0.003, validation=val.x[:1000]).gate
    pipeline = Pipeline(classifier, detector=gate).eval()
    listed = [attacks.pgd(sm.Linf(0.3), steps=10), attacks.pgd(sm.L2(2.0), steps=10, size=0.4, loss=losses.margin)]
    return _evaluated(pipeline, _images("mnist", n), listed)


def targeted(n: int) -> dict[str, Table]:
    """Returns what attacks find that aim at the class after the true one."""
    images, model = _images("mnist", n), models.load("mnist/cnn")
    wanted = (images.y + 1) % images.num_classes
    listed = {
        "Linf 0.1": attacks.pgd(sm.Linf(0.1), steps=20, targeted=True),
        "L2 2": attacks.pgd(sm.L2(2.0), steps=20, targeted=True),
    }
    return {
        title: _attacked(attack, model, images.x, wanted, images.indices, truth=images.y)
        for title, attack in listed.items()
    }


def smoothed(n: int) -> dict[str, Table]:
    """Returns the certificates of a classifier averaged over noise."""
    images = _images("mnist", n)
    classifier = defences.Smoothed(models.load("mnist/cnn-noise"), 0.6)
    found = classifier.certify(images.x, n=400, seed=SEED, indices=images.indices)
    columns = {"answer": found.classes, "radius": found.radius, "lower": found.lower}
    columns["certified"] = found.holds(images.y, 0.25)
    return {"L2": {"index": images.indices.tolist(), **{name: column.tolist() for name, column in columns.items()}}}


scenes: dict[str, Callable[[int], dict[str, Table]]] = {
    "plain": plain,
    "checked": checked,
    "robust": robust,
    "shortest": shortest,
    "exact": exact,
    "bpda": bpda,
    "random": random,
    "stand-in": stand_in,
    "rejecting": rejecting,
    "targeted": targeted,
    "smoothed": smoothed,
}


def played(name: str, n: int) -> dict[str, Table]:
    """Returns the tables of a scene, made by one thread and from the same state of torch's generator every time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return scenes[name](n)
    finally:
        torch.set_num_threads(threads)
