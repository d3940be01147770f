"""What the paper's study needs for a data set: images, classifier and purifiers, shipped or trained on the spot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steelman import data, defences, models, training, weights
from steelman.data import Images
from steelman.errors import InputError
from steelman.models import Resized, fitted, folded
from steelman.progress import OnProgress, Progress, inside
from steelman.records import Picture, Row
from steelman.studies.protocols import AS_PUBLISHED
from steelman.studies.published import DEFENDED

Found = tuple[list[Row], list[Picture]]


@dataclass(frozen=True)
class Cell:
    """One attack on one data set, and the rows and pictures that come of it.

    cost: passes of the classifier for each image, for the time that remains.
    """

    title: str
    cost: int
    measure: Callable[[OnProgress], Found]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `steelman reproduce` was asked for.

    images: of each test set, how many.  share: of the training images, how many serve where something is trained.
    attacked: at most how many of those PGD is run on to train the paper's auto-encoder, None for all.
    """

    profile: str = "quick"
    datasets: tuple[str, ...] = ("mnist", "fashion-mnist")
    classifier: str = "cnn"
    tables: tuple[str, ...] = ("1a", "1b", "2", "3")
    protocols: tuple[str, ...] = ("as-published", "static", "adaptive")
    images: int = 1000
    share: float = 1.0
    attacked: int | None = None
    retrain: bool = False
    seed: int = 0
    device: str = "cpu"
    out: Path = Path("runs/demo")


@dataclass(frozen=True)
class PaperSetup:
    """Everything on its place.

    classifier: on images as they are, batch norm folded.  published: the same on images of 32×32, not folded.
    unet: our purifier.  autoencoders: the paper's, on 32×32, one for each attack.
    """

    dataset: str
    images: Images
    classifier: nn.Module
    published: nn.Module
    unet: nn.Module
    autoencoders: dict[str, defences.ConvAutoencoder]
    notes: tuple[str, ...]


def prepare(plan: Plan, dataset: str, progress: OnProgress) -> PaperSetup:
    """Returns the stage of a data set; what has no weights yet is trained into the run folder and kept there."""
    loaded = data.load(dataset)
    assert loaded.train is not None
    if plan.share < 1:
        loaded = replace(loaded, train=loaded.train.sample(round(plan.share * len(loaded.train)), plan.seed))
    network = _classifier(plan, dataset, loaded, progress)
    on_28 = fitted(network, loaded.test.shape)
    on_32 = Resized(network, 28) if on_28 is network else network
    autoencoders = {attack: _autoencoder(plan, dataset, loaded, on_32, attack, progress) for attack in DEFENDED}
    unet = _unet(plan, dataset, loaded, on_28, progress)
    return PaperSetup(
        dataset,
        tested(plan, loaded.test),
        _placed(folded(on_28), plan.device),
        _placed(on_32, plan.device),
        _placed(unet, plan.device),
        {attack: _the_papers(_placed(module, plan.device)) for attack, module in autoencoders.items()},
        tuple(f"{dataset}: {note}" for note in _notes(plan)),
    )


def tested(plan: Plan, images: Images) -> Images:
    """Returns as many of the test images as the plan asks for."""
    return images if plan.images >= len(images) else images.sample(plan.images, plan.seed)


def _placed(module: nn.Module, device: str) -> nn.Module:
    """Channels last is the faster layout for these convolutions on every device."""
    return module.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _the_papers(module: nn.Module) -> defences.ConvAutoencoder:
    if not isinstance(module, defences.ConvAutoencoder):
        raise InputError(f"expected the paper's auto-encoder, got {type(module).__name__}: train it again")
    return module


def _classifier(plan: Plan, dataset: str, loaded: data.Data, progress: OnProgress) -> nn.Module:
    name = plan.classifier
    if name == "cnn" and not plan.retrain:
        return models.load(f"{dataset}/cnn")
    path = _place(plan, dataset, name)
    recipe = training.named(name, seed=plan.seed)
    with training.seeded(plan.seed):
        network = models.catalogue[name](channels=1, classes=10)

    def train(how: dict[str, Any]) -> training.Trained:
        model = fitted(network, loaded.test.shape)
        return training.classifier(model, loaded, name=name, recipe=recipe, augment=name != "paper_vgg", **how)

    _made(plan, path, f"{name} on {dataset}", progress, recipe, loaded.train, {"model": name}, train)
    weights.fill(network, path)
    return network


def _autoencoder(
    plan: Plan, dataset: str, loaded: data.Data, classifier: nn.Module, attack: str, progress: OnProgress
) -> nn.Module:
    if plan.classifier == "cnn" and not plan.retrain:
        return defences.load(f"{dataset}/conv-autoencoder-{attack}")
    path = _place(plan, dataset, f"{plan.classifier}-conv-autoencoder-{attack}")
    assert loaded.train is not None
    images = loaded.train
    if attack == "pgd" and plan.attacked is not None and plan.attacked < len(images):
        images = images.sample(plan.attacked, plan.seed)
    recipe = training.named("conv-autoencoder", seed=plan.seed, epochs=training.as_many_steps(len(images)))

    def train(how: dict[str, Any]) -> training.Trained:
        made = AS_PUBLISHED.attack(attack, DEFENDED[attack])
        return training.conv_autoencoder(classifier, images, made, recipe=recipe, **how)

    title = f"conv-autoencoder for {attack} on {dataset}, from {len(images)} attacked images"
    _made(plan, path, title, progress, recipe, images, {"attack": attack}, train)
    return defences.load(path)


def _unet(plan: Plan, dataset: str, loaded: data.Data, classifier: nn.Module, progress: OnProgress) -> nn.Module:
    if not plan.retrain:
        return defences.load(f"{dataset}/unet")
    path = _place(plan, dataset, f"{plan.classifier}-unet")
    recipe = training.named("unet", seed=plan.seed)
    with training.seeded(plan.seed):
        network = defences.UNetPurifier()

    def train(how: dict[str, Any]) -> training.Trained:
        return training.purifier(network, classifier, loaded, name="unet", recipe=recipe, **how)

    _made(plan, path, f"unet on {dataset}", progress, recipe, loaded.train, {"defence": "unet"}, train)
    return defences.load(path)


def _made(
    plan: Plan,
    path: Path,
    title: str,
    progress: OnProgress,
    recipe: training.Recipe,
    images: Images | None,
    more: dict[str, object],
    train: Callable[[dict[str, Any]], training.Trained],
) -> None:
    """Trains into a file that is not there; one that is must come of the same images and recipe."""
    told = inside(progress, Progress(0, 1, title), title)
    wanted = {"trained_on": len(images or ()), "recipe": asdict(recipe), **more}

    def trained(checkpoint: Path) -> training.Trained:
        return train({"checkpoint": checkpoint, "device": plan.device, "progress": told})

    training.train_or_load(path, trained, wanted)


def _notes(plan: Plan) -> list[str]:
    notes = []
    trained_here = plan.retrain or plan.classifier != "cnn"
    if trained_here and plan.share < 1:
        notes.append(f"what was trained for this run saw {round(plan.share * 60_000):,} of 60,000 training images")
    if trained_here and plan.attacked is not None:
        notes.append(
            f"the auto-encoder for PGD learnt from {plan.attacked:,} attacked images, in as many steps as the paper's"
        )
    if trained_here and not plan.retrain:
        notes.append(f"our purifier was trained before the compact classifier, not before {plan.classifier}")
    return notes


def _place(plan: Plan, dataset: str, name: str) -> Path:
    return plan.out / "weights" / dataset / f"{name}.safetensors"
