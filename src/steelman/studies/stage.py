"""What the paper's study needs for a data set: images, classifier and purifiers, shipped or trained on the spot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from steelman import data, defences, models, training, weights
from steelman.data import Images
from steelman.models import Resized
from steelman.studies.autoencoder import train_autoencoder
from steelman.studies.published import DEFENDED

Watch = Callable[[str], AbstractContextManager[training.Observer]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `steelman reproduce` was asked for.

    images: of each test set, how many; share: of the training images, how many serve where something is trained.
    """

    profile: str = "quick"
    datasets: tuple[str, ...] = ("mnist", "fashion-mnist")
    classifier: str = "cnn"
    tables: tuple[str, ...] = ("1a", "1b", "2", "3")
    protocols: tuple[str, ...] = ("as-published", "static", "adaptive")
    images: int = 1000
    share: float = 1.0
    retrain: bool = False
    seed: int = 0
    device: str = "cpu"
    out: Path = Path("runs/demo")


@dataclass(frozen=True)
class Stage:
    """Everything on its place.

    classifier: on images as they are.  published: the same classifier on images of 32×32.
    unet: our purifier.  autoencoders: the paper's, on 32×32, one for each attack.
    """

    dataset: str
    images: Images
    classifier: nn.Module
    published: nn.Module
    unet: nn.Module
    autoencoders: dict[str, nn.Module]
    notes: tuple[str, ...]


def prepare(plan: Plan, dataset: str, watch: Watch) -> Stage:
    """Returns the stage of a data set; what has no weights yet is trained into the run folder and kept there."""
    loaded = data.load(dataset)
    notes: list[str] = []
    assert loaded.train is not None
    if plan.share < 1:
        loaded = replace(loaded, train=loaded.train.sample(round(plan.share * len(loaded.train)), plan.seed))
        notes.append(
            f"{dataset}: what was trained for this run saw {len(loaded.train or ())} of 60,000 training images"
        )
    network = _classifier(plan, dataset, loaded, watch)
    on_28, on_32 = (network, Resized(network, 28)) if plan.classifier == "cnn" else (Resized(network, 32), network)
    autoencoders = {attack: _autoencoder(plan, dataset, loaded, on_32, attack, watch) for attack in DEFENDED}
    unet = _unet(plan, dataset, loaded, on_28, watch)
    if plan.classifier != "cnn" and not plan.retrain:
        notes.append(f"{dataset}: our purifier was trained before the compact classifier, not before {plan.classifier}")
    images = loaded.test if plan.images >= len(loaded.test) else loaded.test.sample(plan.images, plan.seed)
    return Stage(
        dataset,
        images,
        on_28.to(plan.device).eval(),
        on_32.to(plan.device).eval(),
        unet.to(plan.device).eval(),
        {attack: module.to(plan.device).eval() for attack, module in autoencoders.items()},
        tuple(notes),
    )


def _classifier(plan: Plan, dataset: str, loaded: data.Data, watch: Watch) -> nn.Module:
    name = plan.classifier
    if name == "cnn" and not plan.retrain:
        return models.load(f"{dataset}/cnn")
    path = _place(plan, dataset, name)
    network = models.catalogue[name](channels=1, classes=10)
    if not path.is_file():
        recipe = training.named(name, seed=plan.seed)
        training.seeded(plan.seed)
        network = models.catalogue[name](channels=1, classes=10)
        model = network if name == "cnn" else Resized(network, 32)
        with watch(f"{name} on {dataset}") as observe:
            training.classifier(
                model,
                loaded,
                name=name,
                recipe=recipe,
                augment=name != "paper_vgg",
                checkpoint=path.with_suffix(".checkpoint"),
                device=plan.device,
                observe=observe,
            ).save(path)
    weights.fill(network, path)
    return network


def _autoencoder(
    plan: Plan, dataset: str, loaded: data.Data, classifier: nn.Module, attack: str, watch: Watch
) -> nn.Module:
    if plan.classifier == "cnn" and not plan.retrain:
        return defences.load(f"{dataset}/conv-autoencoder-{attack}")
    path = _place(plan, dataset, f"{plan.classifier}-conv-autoencoder-{attack}")
    if not path.is_file():
        assert loaded.train is not None
        with watch(f"conv-autoencoder for {attack} on {dataset}") as observe:
            train_autoencoder(
                classifier,
                loaded.train,
                attack,
                recipe=training.named("conv-autoencoder", seed=plan.seed),
                checkpoint=path.with_suffix(".checkpoint"),
                device=plan.device,
                observe=observe,
            ).save(path)
    return defences.load(path)


def _unet(plan: Plan, dataset: str, loaded: data.Data, classifier: nn.Module, watch: Watch) -> nn.Module:
    if not plan.retrain:
        return defences.load(f"{dataset}/unet")
    path = _place(plan, dataset, f"{plan.classifier}-unet")
    if not path.is_file():
        training.seeded(plan.seed)
        with watch(f"unet on {dataset}") as observe:
            training.purifier(
                defences.UNetPurifier(),
                classifier,
                loaded,
                name="unet",
                recipe=training.named("unet", seed=plan.seed),
                checkpoint=path.with_suffix(".checkpoint"),
                device=plan.device,
                observe=observe,
            ).save(path)
    return defences.load(path)


def _place(plan: Plan, dataset: str, name: str) -> Path:
    return plan.out / "weights" / dataset / f"{name}.safetensors"
