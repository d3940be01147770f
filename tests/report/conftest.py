"""Evaluations that nobody measured, for reports to be drawn from."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from steelman.evaluation.intervals import clopper_pearson
from steelman.records import (
    WORST,
    Breaker,
    Case,
    CertifiedInterval,
    Check,
    CheckOutcome,
    Curve,
    Evaluation,
    GradientKind,
    Picture,
    Row,
    Sample,
    Stage,
    Trust,
    Verdict,
)
from steelman.studies.presentation import presentation
from steelman.studies.unseen_attacks import NEVER_SEEN

FGSM = {
    "mnist": (0.9901, 0.9099, 0.8237, 0.7274, 0.5840, 0.4054, 0.2648, 0.1610, 0.0531, 0.0523),
    "fashion-mnist": (0.9122, 0.4751, 0.3798, 0.2973, 0.2376, 0.1889, 0.1417, 0.0955, 0.0444, 0.0412),
}
PGD = {
    "mnist": (0.9922, 0.6130, 0.1723, 0.0418, 0.0181, 0.0118),
    "fashion-mnist": (0.9206, 0.3150, 0.2962, 0.2942, 0.2940, 0.2934),
}
FGSM_EPS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0, 1.5)
PGD_EPS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
DEFENDED = {
    ("mnist", "fgsm"): 0.9209,
    ("mnist", "pgd"): 0.9406,
    ("fashion-mnist", "fgsm"): 0.7393,
    ("fashion-mnist", "pgd"): 0.7291,
}


VOID = {"meta", "img", "br", "line", "path", "use", "rect", "circle"}


class Outline(HTMLParser):
    """What a browser would see: tags, attributes, ids, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


def make_row(**changes: Any) -> Row:
    """One row, static PGD at .15 on MNIST unless told otherwise; its interval follows from its accuracy."""
    values: dict[str, Any] = {
        "table": "evaluate",
        "dataset": "mnist",
        "classifier": "cnn",
        "defence": "none",
        "attack": "pgd",
        "eps": 0.15,
        "protocol": "static",
        "n": 1000,
        "accuracy": 0.5,
    } | changes
    accuracy, n = values["accuracy"], values["n"]
    values.setdefault("worst_case", values["attack"] in (WORST, NEVER_SEEN))
    low, high = (None, None) if accuracy is None else clopper_pearson(round(accuracy * n), n)
    return Row(**({"ci_low": low, "ci_high": high} | values))


def make_picture(eps: float, channels: int = 1, side: int = 28, **changes: Any) -> Picture:
    """One picture on its way: classified correctly, then wrong, then right."""
    rng = np.random.default_rng(round(1000 * eps) + channels)
    clean = rng.integers(0, 256, (side, side, channels))
    attacked = np.clip(clean + np.rint(255 * eps * rng.choice([-1, 1], clean.shape)), 0, 255)
    values: dict[str, Any] = {
        "dataset": "mnist",
        "classifier": "cnn",
        "defence": "unet",
        "attack": "pgd",
        "eps": eps,
        "protocol": "static",
        "index": 7,
        "label": "9",
        "images": np.stack([clean, attacked, clean]).astype(np.uint8),
        "readings": (("9", 0.998), ("4", 0.73), ("9", 0.91)),
    } | changes
    return Picture(**values)


def make_evaluation(*rows: Row, **changes: Any) -> Evaluation:
    """An evaluation with these rows."""
    values: dict[str, Any] = {"title": "A run", "rows": rows, "settings": {}, "versions": {"steelman": "0.1.0"}}
    values["presentation"] = presentation(dict.fromkeys(row.table for row in rows))
    return Evaluation(**(values | changes))


def make_samples(
    n: int, *, labels: int = 10, seed: int = 0, defended: bool = True, proved: bool = True
) -> list[Sample]:
    """As many samples: those of a higher label break at a smaller distance, all beyond .15 unless misclassified."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(n):
        label = index % labels
        clean = bool(rng.random() < 0.98)
        distance = float(0.15 + rng.random() * (0.6 - 0.3 * label / labels))
        kept = clean and distance > 0.3
        found.append(
            Sample(
                index=index,
                label=str(label),
                clean=clean,
                static=(clean and (kept or bool(rng.random() < 0.8))) if defended else None,
                kept=kept,
                certified=(kept and distance > 0.42) if proved else None,
                by="standard/climb" if clean and not kept else "",
                margin=0.3 - distance,
                distance=distance if clean else 0.0,
                forwards=200,
                backwards=100,
                seed=index,
            )
        )
    return found


def make_curve(samples: list[Sample]) -> Curve:
    """The curve of these samples at 40 eps."""
    n = len(samples)
    points = []
    for eps in np.linspace(0, 0.8, 40):
        held = sum(sample.clean and (sample.distance or 0.0) > eps for sample in samples)
        points.append((float(eps), held / n, *clopper_pearson(held, n)))
    right = sorted(sample.distance or 0.0 for sample in samples if sample.clean)
    return Curve(points=tuple(points), chance=0.12, median=right[len(right) // 2] if right else None)


CHECKS = (
    Check(
        name="iterated",
        claim="PGD is no weaker than one step.",
        outcome=CheckOutcome.PASS,
        measured="PGD 62 %, FGSM 71 %.",
    ),
    Check(
        name="black box",
        claim="No attack without gradients breaks what those with gradients left.",
        outcome=CheckOutcome.PASS,
        measured="Square broke 0 of 713 survivors.",
    ),
    Check(
        name="binarisation",
        claim="A planted example is found.",
        outcome=CheckOutcome.NOT_APPLICABLE,
        measured="No logits.",
    ),
)
FAILED = Check(
    name="transfer",
    claim="No image made on another model breaks what white-box attacks left.",
    outcome=CheckOutcome.FAIL,
    measured="42 of 713 survivors broke.",
)


def make_case(samples: list[Sample] | None = None, **changes: Any) -> Case:
    """A case that holds up, of 200 samples unless told otherwise; its counts follow from its samples."""
    samples = make_samples(200) if samples is None else samples
    n, kept = len(samples), sum(sample.kept for sample in samples)
    clean = sum(sample.clean for sample in samples)
    defended = any(sample.static is not None for sample in samples)
    certified = sum(bool(s.certified) for s in samples) if any(s.certified is not None for s in samples) else None
    low, high = clopper_pearson(kept, n)
    values: dict[str, Any] = {
        "dataset": "mnist",
        "classifier": "cnn",
        "defence": "unet" if defended else "none",
        "norm": "Linf",
        "eps": 0.3,
        "n": n,
        "clean": clean,
        "static": sum(bool(sample.static) for sample in samples) if defended else None,
        "kept": kept,
        "ci_low": low,
        "ci_high": high,
        "spent": 120 * n,
        "full": 900 * n,
        "verdict": Verdict(word=Trust.TRUSTED),
        "certified_interval": CertifiedInterval(
            certified=certified,
            attacked=kept,
            methods=() if certified is None else (("ibp", certified // 2), ("crown-ibp", certified - certified // 2)),
            why="" if certified is not None else "a stage without bounds: JPEG.",
        ),
        "curve": make_curve(samples),
        "checks": CHECKS,
        "breakers": (
            make_breaker("standard", through="", protocol="static", tried=n, broke=n - clean),
            make_breaker(
                "standard",
                tried=clean,
                broke=clean - kept,
                parts=(("standard/climb", clean - kept - 2), ("standard/fab", 2)),
                seconds=192.0,
            ),
            make_breaker("square", through="scores of the whole pipeline", tried=kept, broke=0),
        ),
        "stages": (
            Stage(
                name="0 (JPEG)",
                gradient=GradientKind.ZERO,
                share=0.0,
                random=False,
                gradient_path="BPDA with the identity",
            ),
            Stage(name="1 (CNN)", gradient=GradientKind.EXACT, share=1.0, random=False, gradient_path="exact"),
        ),
        "samples": tuple(samples),
    }
    return Case(**(values | changes))


def make_breaker(attack: str, **changes: Any) -> Breaker:
    """What one attack broke, nothing unless told otherwise."""
    values: dict[str, Any] = {
        "attack": attack,
        "through": "the whole pipeline",
        "protocol": "adaptive",
        "tried": 100,
        "broke": 0,
        "forwards": 123_456,
        "backwards": 65_432,
        "seconds": 12.5,
    }
    return Breaker(**(values | changes))


@pytest.fixture
def outline() -> type[Outline]:
    return Outline


@pytest.fixture
def case() -> Callable[..., Case]:
    return make_case


@pytest.fixture
def samples() -> Callable[..., list[Sample]]:
    return make_samples


@pytest.fixture
def failed() -> Check:
    """A check that failed."""
    return FAILED


@pytest.fixture
def breaker() -> Callable[..., Breaker]:
    return make_breaker


@pytest.fixture
def row() -> Callable[..., Row]:
    return make_row


@pytest.fixture
def picture() -> Callable[..., Picture]:
    return make_picture


@pytest.fixture
def evaluation() -> Callable[..., Evaluation]:
    return make_evaluation


@pytest.fixture(scope="session")
def study() -> Evaluation:
    """The whole study: both data sets, four tables, three protocols, pictures."""
    rows = [row for data in ("mnist", "fashion-mnist") for row in (*_curves(data), *_defended(data))]
    timed = {"table": "3", "attack": "fgsm", "eps": 0.6, "threads": 2}
    rows += [
        make_row(table="3", attack="none", eps=0.0, accuracy=0.993, published=0.9901, latency_ms=0.61, threads=2),
        make_row(**timed, defence="conv-autoencoder", accuracy=0.934, published=0.9209, latency_ms=0.83),
        make_row(**timed, defence="unet", accuracy=0.985, latency_ms=1.42),
        make_row(
            **(timed | {"threads": None}), classifier="published", defence="defense-gan", n=0, accuracy=None,
            published=0.8529, latency_ms=14800.0, note="The latency is the paper's, on another machine.",
        ),
        make_row(
            **(timed | {"threads": None}), classifier="published", defence="puvae", n=0, accuracy=None,
            published=0.8133, latency_ms=110.0, note="The latency is the paper's, on another machine.",
        ),
    ]  # fmt: skip
    pictures = [
        make_picture(eps, dataset=data, attack=attack, label=label, readings=((label, 0.99), ("4", 0.7), (label, 0.9)))
        for data, label in (("mnist", "9"), ("fashion-mnist", "Ankle boot"))
        for attack, known in (("fgsm", FGSM_EPS[1:]), ("pgd", PGD_EPS[1:]))
        for eps in known
    ]
    return make_evaluation(
        *rows,
        title="Convolutional auto-encoders against FGSM and PGD",
        pictures=tuple(pictures),
        settings={
            "command": "steelman reproduce --profile quick --seed 0",
            "profile": "quick",
            "seed": 0,
            "datasets": ["mnist", "fashion-mnist"],
            "pgd": {"steps": 40, "size": 0.01, "random start": True},
        },
        versions={"steelman": "0.1.0", "torch": "2.11.0", "python": "3.11.9"},
        notes=("1,000 seeded test images a cell.",),
        seconds=192.4,
    )


def _curves(data: str) -> list[Row]:
    rows = []
    for table, attack, known, printed in (("1a", "fgsm", FGSM_EPS, FGSM), ("1b", "pgd", PGD_EPS, PGD)):
        for eps, published in zip(known, printed[data], strict=True):
            at = {"table": table, "dataset": data, "attack": attack if eps else "none", "eps": eps}
            shifted = round(max(published - 0.012, 0.0), 3)
            rows.append(
                make_row(**at, classifier="paper_vgg", protocol="as-published", accuracy=shifted, published=published)
            )
            fallen = round(published * (1 - eps / 2), 3)
            rows.append(make_row(**at, accuracy=fallen, published=published))
    return rows


def _defended(data: str) -> list[Row]:
    rows = [make_row(table="2", dataset=data, defence="unet", attack="none", eps=0.0, accuracy=0.915)]
    for attack, eps in (("fgsm", 0.6), ("pgd", 0.15)):
        at = {"table": "2", "dataset": data, "attack": attack, "eps": eps}
        undefended = (FGSM if attack == "fgsm" else PGD)[data][(FGSM_EPS if attack == "fgsm" else PGD_EPS).index(eps)]
        published = DEFENDED[data, attack]
        for protocol, classifier in (("as-published", "paper_vgg"), ("static", "cnn")):
            here = at | {"protocol": protocol, "classifier": classifier}
            rows.append(make_row(**here, accuracy=round(undefended - 0.01, 3), published=undefended))
            rows.append(
                make_row(**here, defence="conv-autoencoder", accuracy=round(published - 0.02, 3), published=published)
            )
            rows.append(
                make_row(**here, defence="unet", accuracy=0.981 if attack == "fgsm" else 0.902, note="One for both.")
            )
        rows.append(make_row(**at, protocol="adaptive", defence="unet", accuracy=0.021))
        rows.append(make_row(**at, protocol="adaptive", defence="conv-autoencoder", accuracy=0.034))
    return rows
