"""`steelman train`: a classifier, a robust one or a purifier, to a safetensors file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli.bring import NORMS
from steelman.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Data
    from steelman.training import Recipe, Trained

EXAMPLES = """examples:
  steelman train classifier --data mnist --model cnn --out runs/cnn.safetensors
  steelman train classifier --data my/images --model package.module:factory --out runs/mine.safetensors
  steelman train robust --data mnist --model lenet --norm Linf --eps 0.3 --out runs/robust.safetensors
  steelman train purifier --data fashion-mnist --classifier fashion-mnist/cnn --out runs/unet.safetensors

A training that was killed goes on where it was when the same command is given again."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "train",
        help="train a classifier, a robust one or a purifier",
        description="Train a classifier, a robust one or a purifier and write its weights as safetensors.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("what", choices=["classifier", "robust", "purifier"])
    command.add_argument("--data", default="mnist", help="mnist, fashion-mnist, a folder of images, an .npz (mnist)")
    command.add_argument("--model", default="cnn", help="cnn, lenet, vgg16, paper_vgg or package.module:factory (cnn)")
    command.add_argument(
        "--transfer", type=Path, help="classifier vgg16: a torchvision VGG-16 checkpoint to start from"
    )
    command.add_argument("--fine-tune", action="store_true", help="with --transfer: train the features too")
    command.add_argument("--norm", choices=NORMS, help="robust: of what it is to withstand (Linf)")
    command.add_argument("--eps", type=float, help="robust: the radius, in units of [0, 1] images")
    command.add_argument("--steps", type=int, help="robust: of the PGD that it trains on (40)")
    command.add_argument("--size", type=float, help="robust: of one of them (4/3 eps / steps)")
    command.add_argument("--classifier", help="purifier: the classifier it goes in front of, as in mnist/cnn")
    command.add_argument("--weights", type=Path, help="purifier: safetensors of that classifier, if none ship")
    command.add_argument("--purifier", default="unet", help="purifier: unet or conv-autoencoder (unet)")
    command.add_argument(
        "--attack", choices=["fgsm", "pgd"], default="fgsm", help="conv-autoencoder: what it undoes (fgsm)"
    )
    command.add_argument("--share", type=float, default=1.0, help="of the training images, how many serve (1)")
    command.add_argument("--epochs", type=int)
    command.add_argument("--batch-size", type=int)
    command.add_argument("--rate", type=float, help="the highest learning rate")
    command.add_argument("--patience", type=int, help="epochs without a better validation before it stops (never)")
    command.add_argument("--precision", choices=["auto", "fp32", "bf16"])
    command.add_argument("--seed", type=int)
    command.add_argument("--device", default="auto", help="cpu, cuda or auto (auto)")
    command.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trains and writes."""
    from steelman import data
    from steelman.cli.show import console, device, fitting, writable
    from steelman.training import named

    images = _thinned(data.load(options.data), options.share, options.seed or 0)
    name = options.purifier if options.what == "purifier" else options.model
    recipe = named(
        "robust" if options.what == "robust" else name,
        epochs=options.epochs,
        batch_size=options.batch_size,
        rate=options.rate,
        patience=options.patience,
        precision=options.precision,
        seed=options.seed,
    )
    where = device(options.device)
    given = [f"--{key}" for key in ("norm", "eps", "steps", "size") if getattr(options, key) is not None]
    if given and options.what != "robust":
        raise InputError(f"expected no {given[0]} for train {options.what}: it is of train robust, leave it out")
    if options.out.is_dir():
        raise InputError(
            f"expected --out as a file to write, got the folder {options.out}: say {options.out}/weights.safetensors"
        )
    checkpoint = options.out.with_suffix(".checkpoint")
    purify = _autoencoder if name == "conv-autoencoder" else _purifier
    make = {"classifier": _classifier, "robust": _robust, "purifier": purify}[options.what]
    writable(options.out.parent)
    with fitting(f"{options.what} {name} on {images.name}") as observe:
        trained = make(options, images, recipe, {"checkpoint": checkpoint, "device": where, "observe": observe})
    trained.save(options.out, checkpoint)
    best = ", ".join(f"{key} {value:.4f}" for key, value in trained.settings["validation"].items())
    console.print(f"wrote {options.out}; on validation images: {best}")
    return 0


def _classifier(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import training

    model = _network(options, images, recipe)
    augment = options.model != "paper_vgg"
    return training.classifier(model, images, name=options.model, recipe=recipe, augment=augment, **how)


def _robust(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import norms, training

    if options.eps is None:
        raise InputError("expected --eps, the radius to withstand, got none: say --eps 0.3, as is usual for MNIST")
    threat = getattr(norms, options.norm or "Linf")(options.eps)
    pgd = {key: value for key in ("steps", "size") if (value := getattr(options, key)) is not None}
    model = _network(options, images, recipe)
    return training.robust(model, images, name=options.model, threat=threat, recipe=recipe, **pgd, **how)


def _network(options: argparse.Namespace, images: Data, recipe: Recipe) -> nn.Module:
    """The classifier to train, made from the recipe's seed."""
    from steelman import models, training

    channels, classes = images.test.shape[0], images.test.num_classes
    if options.transfer is not None and options.model != "vgg16":
        raise InputError(f"expected --model vgg16 with --transfer, got {options.model}")
    with training.seeded(recipe.seed):
        if options.transfer is not None:
            model: nn.Module = models.transfer(options.transfer, channels, classes, frozen=not options.fine_tune)
        else:
            model = models.build(options.model, channels=channels, classes=classes)
    if options.model in models.SIDE_32 and images.test.shape[-1] != 32:
        model = models.Resized(model, 32)
    return model


def _purifier(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import defences, training

    classifier = _target(options, images)
    with training.seeded(recipe.seed):
        purifier = defences.build(options.purifier, channels=images.test.shape[0])
    return training.purifier(purifier, classifier, images, name=options.purifier, recipe=recipe, **how)


def _autoencoder(options: argparse.Namespace, images: Data, recipe: Recipe, how: dict[str, Any]) -> Trained:
    from steelman import models
    from steelman.studies.autoencoder import as_many_steps, train_autoencoder

    if images.train is None:
        raise InputError(f"expected training images in {images.name}, got a test split alone")
    target = _target(options, images)
    published = target.inner if isinstance(target, models.Resized) else models.Resized(target, images.test.shape[-1])
    if options.epochs is None:
        recipe = replace(recipe, epochs=as_many_steps(len(images.train)))
    return train_autoencoder(published, images.train, options.attack, recipe=recipe, **how)


def _target(options: argparse.Namespace, images: Data) -> nn.Module:
    from steelman.cli import bring

    named = argparse.Namespace(model=options.classifier, weights=options.weights, device="cpu")
    return bring.model(named, images.test)


def _thinned(data: Data, share: float, seed: int) -> Data:
    if not 0 < share <= 1:
        raise InputError(f"expected --share in (0, 1], got {share}")
    if share == 1 or data.train is None:
        return data
    return replace(data, train=data.train.sample(max(1, round(share * len(data.train))), seed))
