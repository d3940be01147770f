"""The article's comparison: one network trained in five ways, under attacks seen in training and not.

Naturally, on FGSM and clean images mixed, on PGD, on PGD with logit pairing, and on PGD with denoising blocks; and what
an attack does to the features of each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from steelman import data, training, weights
from steelman.attacks import Attack, Last, ddn, fgsm, pgd, spatial, square
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.evaluation import measure
from steelman.evaluation.features import feature_maps
from steelman.evaluation.options import Defended
from steelman.models.resnet import STAGES, ResNet18
from steelman.norms import L2, Linf
from steelman.pipeline import Pipeline
from steelman.progress import OnProgress, Progress, inside
from steelman.records import Evaluation, Features, Row
from steelman.studies.all_defences import RADII
from steelman.studies.measured import attacked
from steelman.studies.presentation import presentation
from steelman.training import Classify, Recipe, Trained, objectives

TABLE = "training"

TITLE = "Natural, mixed, PGD, logit pairing and denoising: one network trained in five ways"

RECIPE = Recipe(epochs=4, rate=4e-3, average=0.99)

PICTURED = 3
"""Images whose feature maps are drawn."""


@dataclass(frozen=True, kw_only=True)
class ArticlePlan:
    """What the study is to do.

    width, stem, operation: of the ResNet-18.  share: of the training images, how many serve.
    steps: of the PGD that is trained on, each of 2.5 eps / steps.
    images: of the test set, how many are attacked.  noised: how many of those the feature noise is measured on.
    """

    dataset: str = "fashion-mnist"
    width: int = 16
    stem: str = "half"
    operation: str = "nonlocal-dot"
    share: float = 1 / 3
    steps: int = 5
    recipe: Recipe = RECIPE
    images: int = 1000
    noised: int = 200
    device: str = "cpu"
    out: Path = Path("runs/training")


@dataclass(frozen=True)
class Contestant:
    """One of the networks.

    key: its file's name.  defence: its name in tables.  objective: of the catalogue, None for training on labels.
    """

    key: str
    defence: str
    objective: str | None
    denoise: str = "none"


def compare(plan: ArticlePlan, progress: OnProgress) -> Evaluation:
    """Returns the accuracies of the networks, seen and unseen attacks, and their feature maps and noise.

    Networks are trained into the run folder, go on where they were killed, and are taken from there the next time.
    progress: hears of every network, and of each training inside it.
    Raises InputError for a data set or an operation that it does not know, and for weights made in another way.
    """
    started = time.monotonic()
    if plan.dataset not in RADII:
        raise InputError(f"expected a data set with known radii, {' or '.join(RADII)}, got {plan.dataset!r}")
    loaded = _thinned(data.load(plan.dataset), plan)
    test = loaded.test if plan.images >= len(loaded.test) else loaded.test.sample(plan.images, plan.recipe.seed)
    networks = [(one, _network(plan, one, loaded, progress)) for one in contestants(plan)]
    rows: list[Row] = []
    drawn: list[Features] = []
    for at, (one, network) in enumerate(networks):
        progress(Progress(at, len(networks), one.defence))
        rows += _rows(plan, one, network, test)
        drawn.append(_features(plan, one, network, test))
    progress(Progress(len(networks), len(networks), "done"))
    return Evaluation(
        title=TITLE,
        rows=tuple(rows),
        features=tuple(drawn),
        settings={
            "data": loaded.name,
            "network": networks[-1][1].settings,
            "recipe": asdict(plan.recipe),
            "share of training images": round(plan.share, 4),
            "objectives": {one.defence: repr(_trained_on(plan, one)) for one, _ in networks},
            "attacks": [repr(attack) for attack in _attacks(plan)],
            "feature noise": repr(_noising(plan)),
        },
        presentation=presentation([TABLE]),
        versions=measure.versions(),
        notes=(
            f"A ResNet-18 of width {plan.width} with the {plan.stem} stem, shown {_visits(plan, loaded):,} images in "
            f"{plan.recipe.epochs} epochs, with the same seed, images and recipe for every network. One training each: "
            "the intervals cover the test images, not another training's luck.",
            "Every network is attacked through itself. FGSM and PGD stay inside the ball that was trained on; PGD in "
            "L2 works in another, which no network saw.",
        ),
        seconds=time.monotonic() - started,
    )


def contestants(plan: ArticlePlan) -> tuple[Contestant, ...]:
    """Returns the networks that are compared."""
    return (
        Contestant("natural", "none", None),
        Contestant("mixed", "FGSM mixed", "mixed"),
        Contestant("madry", "PGD", "madry"),
        Contestant("logit-pairing", "PGD, logit pairing", "logit-pairing"),
        Contestant(f"madry-{plan.operation}", f"PGD, denoising ({plan.operation})", "madry", plan.operation),
    )


def _thinned(loaded: Data, plan: ArticlePlan) -> Data:
    if loaded.train is None or not 0 < plan.share <= 1:
        raise InputError(f"expected training images and a share of them in (0, 1], got {plan.share}")
    if plan.share == 1:
        return loaded
    return replace(loaded, train=loaded.train.sample(round(plan.share * len(loaded.train)), plan.recipe.seed))


def _visits(plan: ArticlePlan, loaded: Data) -> int:
    return plan.recipe.epochs * len(loaded.split(plan.recipe.seed)[0])


def _trained_on(plan: ArticlePlan, one: Contestant) -> training.Objective:
    """What a network learns from; all that see PGD see the same, and none of them sees eps at once."""
    eps = RADII[plan.dataset][0]
    if one.objective is None:
        return Classify()
    steps = {} if one.objective == "mixed" else {"steps": plan.steps, "size": 2.5 * eps / plan.steps}
    return objectives.objective(one.objective, Linf(eps), ramp=0.3, **steps)


def _attacks(plan: ArticlePlan) -> tuple[Attack, ...]:
    """FGSM and PGD, which some have seen, and three that none has: in L2, without gradients, by moving the image."""
    eps, radius = RADII[plan.dataset]
    return (
        fgsm(Linf(eps)),
        pgd(Linf(eps), steps=20, size=eps / 8),
        ddn(L2(radius)),
        square(Linf(eps), queries=1000),
        spatial(),
    )


def _noising(plan: ArticlePlan) -> Attack:
    """PGD to its last step, also where an earlier one breaks the network."""
    return _attacks(plan)[1].with_goal(Last())


def _network(plan: ArticlePlan, one: Contestant, loaded: Data, progress: OnProgress) -> ResNet18:
    """A contestant from its file, trained into it first if it is not there."""
    path = plan.out / "weights" / plan.dataset / f"resnet18-{one.key}.safetensors"
    objective = _trained_on(plan, one)
    with training.seeded(plan.recipe.seed):
        network = ResNet18(*_layout(loaded), plan.width, one.denoise, plan.stem)
    title = f"resnet18, {one.defence}, on {plan.dataset}"
    told = inside(progress, Progress(0, 1, title), title)
    wanted = {
        "arguments": network.settings,
        "recipe": asdict(plan.recipe),
        "objective": repr(objective),
        "trained_on": len(loaded.train or ()),
    }
    training.train_or_load(path, lambda checkpoint: _fit(plan, network, objective, loaded, checkpoint, told), wanted)
    weights.fill(network, path)
    return network.to(plan.device).eval()


def _fit(
    plan: ArticlePlan,
    network: ResNet18,
    objective: training.Objective,
    loaded: Data,
    checkpoint: Path,
    progress: OnProgress,
) -> Trained:
    kept, val = loaded.split(plan.recipe.seed)
    judged = val.sample(min(len(val), 500), plan.recipe.seed)
    history = training.fit(
        network, objective, kept, judged, plan.recipe, checkpoint=checkpoint, device=plan.device, progress=progress
    )
    made = training.record(network, loaded.test, plan.recipe, repr(objective), history, len(kept) + len(val))
    return Trained(network, history, made | {"model": "resnet18"})


def _layout(loaded: Data) -> tuple[int, int]:
    return loaded.test.shape[0], loaded.test.num_classes


def _rows(plan: ArticlePlan, one: Contestant, network: ResNet18, test: Images) -> Iterator[Row]:
    pipeline = Defended(Pipeline(network, name=_called(plan), defence=one.defence), None)
    found = attacked(pipeline, test, _attacks(plan), seed=plan.recipe.seed)
    for name in ("none", *(attack.name for attack in _attacks(plan))):
        yield replace(next(row for row in found.rows if row.attack == name), table=TABLE)


def _features(plan: ArticlePlan, one: Contestant, network: ResNet18, test: Images) -> Features:
    shown = test if plan.noised >= len(test) else test.sample(plan.noised, plan.recipe.seed)
    x, y = measure.on(network, shown)
    attack = _noising(plan)
    x_adv = attack(network, x, y, seed=plan.recipe.seed, indices=shown.indices).x
    groups = tuple(
        {f"stage{k}": f"stage {k}", f"denoise{k}": f"stage {k}, denoised"}
        if one.denoise != "none"
        else {f"stage{k}": f"stage {k}"}
        for k in STAGES
    )
    return feature_maps(
        network,
        shown,
        x_adv,
        groups,
        pictured=PICTURED,
        classifier=_called(plan),
        defence=one.defence,
        attack=attack.name,
        eps=float(attack.threat.eps),
    )


def _called(plan: ArticlePlan) -> str:
    return f"resnet18, width {plan.width}"
