"""Where the variants of the ablation are trained: the same images, classifier and budget for each."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from steelman import data, defences, models, training, weights
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.models import folded
from steelman.norms import Linf
from steelman.pipeline import Pipeline
from steelman.progress import OnProgress
from steelman.studies.ablation_variants import Variant
from steelman.studies.all_defences import RADII
from steelman.training import EndToEndPurifierLoss, Recipe, Trained
from steelman.training.purifiers import augmentation
from steelman.training.recipes import ROBUST_AUTOENCODER

RECIPE = replace(ROBUST_AUTOENCODER, epochs=4)


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """What the study is to do.

    share: of the training images, how many serve.  judged: of those held out, how many choose the best epoch.
    steps: of the PGD that is trained on.  width: of the judge.  images: of the test set, how many are attacked.
    chosen: keys of the variants, all unless told.
    With these numbers most variants train in about three minutes on one core.
    """

    dataset: str = "mnist"
    classifier: str = "cnn"
    share: float = 1 / 4
    judged: int = 250
    steps: int = 7
    width: int = 24
    recipe: Recipe = RECIPE
    images: int = 500
    chosen: tuple[str, ...] = ()
    device: str = "cpu"
    out: Path = Path("runs/ablation")

    @property
    def eps(self) -> float:
        """The Linf radius that is trained on and attacked at."""
        return RADII[self.dataset][0]


@dataclass(frozen=True, eq=False)
class AblationSetup:
    """The same for every variant.

    loaded: the data set with its share of the training images.  test: what is attacked.
    classifier: shipped, in evaluation mode and frozen.  bare: the same, folded.
    """

    loaded: Data
    test: Images
    classifier: nn.Module
    bare: nn.Module


def prepare(plan: AblationPlan) -> AblationSetup:
    """Returns what all variants have in common.

    Raises InputError for a data set that it does not know, and for a share that is none.
    """
    if plan.dataset not in RADII:
        raise InputError(f"expected a data set with known radii, {' or '.join(RADII)}, got {plan.dataset!r}")
    loaded, seed = data.load(plan.dataset), plan.recipe.seed
    if loaded.train is None or not 0 < plan.share <= 1:
        raise InputError(f"expected training images and a share of them in (0, 1], got {plan.share}")
    loaded = replace(loaded, train=loaded.train.sample(round(plan.share * len(loaded.train)), seed))
    test = loaded.test if plan.images >= len(loaded.test) else loaded.test.sample(plan.images, seed)
    classifier = models.load(f"{plan.dataset}/{plan.classifier}").to(plan.device).eval().requires_grad_(False)
    return AblationSetup(loaded, test, classifier, folded(classifier))


def objective(plan: AblationPlan, one: Variant, bench: AblationSetup) -> EndToEndPurifierLoss:
    """Returns what a variant learns from: what ships learns from it too, but for the change."""
    settings = {"steps": plan.steps, "augment": augmentation(bench.loaded), **one.objective}
    return training.through(bench.bare, Linf(plan.eps), **settings)  # type: ignore[arg-type]


def recipe(plan: AblationPlan, one: Variant) -> Recipe:
    """Returns how a variant is fitted."""
    return replace(plan.recipe, **one.recipe)  # type: ignore[arg-type]


def untrained(plan: AblationPlan, one: Variant, bench: AblationSetup) -> nn.Module:
    """Returns what learns: the purifier, or the pipeline of it and a copy of the classifier."""
    (channels, side, _), classes = bench.loaded.test.shape, bench.loaded.test.num_classes
    ours: dict[str, Any] = {}
    if one.purifier == "robust-autoencoder":
        ours = {"classes": classes, "side": side, "width": plan.width}
    with training.seeded(plan.recipe.seed):
        purifier = defences.build(one.purifier, channels=channels, **ours)
    if not one.ramp:
        purifier.get_submodule("judge.ramp").requires_grad_(False)
    if not one.together:
        return purifier
    return Pipeline(copy.deepcopy(bench.classifier).requires_grad_(True), purifier=purifier)


def trained(plan: AblationPlan, one: Variant, bench: AblationSetup, progress: OnProgress) -> tuple[nn.Module, float]:
    """Returns a variant's pipeline, folded, and the seconds of its training.

    It is trained into the run folder if it is not there, and goes on where it was killed.
    Raises InputError for weights made in another way.
    """
    path = plan.out / "weights" / plan.dataset / f"ablation-{one.key}.safetensors"
    module, how = untrained(plan, one, bench), recipe(plan, one)
    metadata = {"variant": one.key, "classifier": weights.digest(bench.classifier)}
    metadata |= {} if one.together else {"defence": one.purifier}
    learns = objective(plan, one, bench)

    def train(checkpoint: Path) -> Trained:
        made = _fit(plan, module, learns, how, bench, checkpoint, progress)
        return replace(made, settings={**made.settings, **metadata})

    wanted = metadata | {
        "arguments": getattr(module, "settings", {}),
        "recipe": asdict(how),
        "objective": repr(learns),
        "trained_on": len(bench.loaded.train or ()),
    }
    settings = training.train_or_load(path, train, wanted)
    weights.fill(module, path)
    module, seconds = module.to(plan.device), settings.get("seconds")
    pipeline = module if one.together else Pipeline(bench.classifier, purifier=module)
    return folded(pipeline), seconds if isinstance(seconds, float) else 0.0


def _fit(
    plan: AblationPlan,
    module: nn.Module,
    learns: EndToEndPurifierLoss,
    how: Recipe,
    bench: AblationSetup,
    checkpoint: Path,
    progress: OnProgress,
) -> Trained:
    kept, val = bench.loaded.split(how.seed)
    judged = val.sample(min(len(val), plan.judged), how.seed)
    history = training.fit(
        module, learns, kept, judged, how, checkpoint=checkpoint, device=plan.device, progress=progress
    )
    made = training.record(module, bench.loaded.test, how, repr(learns), history, len(kept) + len(val))
    return Trained(module, history, {**made, "seconds": history[-1].seconds})
