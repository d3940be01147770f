"""`steelman train`: a classifier or a purifier, to a safetensors file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.errors import InputError

if TYPE_CHECKING:
    from steelman.data import Data

EXAMPLES = """examples:
  steelman train classifier --data mnist --model cnn --out runs/cnn.safetensors
  steelman train classifier --data my/images --model package.module:factory --out runs/mine.safetensors
  steelman train purifier --data fashion-mnist --classifier fashion-mnist/cnn --out runs/unet.safetensors

A training that was killed goes on where it was when the same command is given again."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "train",
        help="train a classifier or a purifier",
        description="Train a classifier or a purifier and write its weights as safetensors.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("what", choices=["classifier", "purifier"])
    command.add_argument("--data", default="mnist", help="mnist, fashion-mnist, a folder of images, an .npz (mnist)")
    command.add_argument("--model", default="cnn", help="classifier: cnn, vgg16, paper_vgg or package.module:factory")
    command.add_argument("--transfer", type=Path, help="classifier vgg16: a torchvision VGG-16 checkpoint to start from")
    command.add_argument("--fine-tune", action="store_true", help="with --transfer: train the features too")
    command.add_argument("--classifier", help="purifier: the classifier it goes in front of, as in mnist/cnn")
    command.add_argument("--weights", type=Path, help="purifier: safetensors of that classifier, if none ship")
    command.add_argument("--purifier", default="unet", help="purifier: unet or conv-autoencoder (unet)")
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
    from steelman import data, defences, models
    from steelman.cli.show import console, device, training
    from steelman.training import recipes

    images = _thinned(data.load(options.data), options.share, options.seed or 0)
    name = options.model if options.what == "classifier" else options.purifier
    recipe = recipes.named(
        name,
        epochs=options.epochs,
        batch_size=options.batch_size,
        rate=options.rate,
        patience=options.patience,
        precision=options.precision,
        seed=options.seed,
    )
    where = device(options.device)
    checkpoint = options.out.with_suffix(".checkpoint")
    recipes.seeded(recipe.seed)
    channels, classes = images.test.shape[0], images.test.num_classes
    with training(f"{options.what} {name} on {images.name}") as observe:
        if options.what == "classifier":
            model = (
                models.transfer(options.transfer, channels, classes, frozen=not options.fine_tune)
                if options.transfer
                else models.build(name, channels=channels, classes=classes)
            )
            trained = recipes.classifier(
                model, images, name=name, recipe=recipe, checkpoint=checkpoint, device=where, observe=observe
            )
        else:
            target = models.build(
                options.classifier or f"{images.name}/cnn", channels=channels, classes=classes, weights_file=options.weights
            )
            trained = recipes.purifier(
                defences.build(name, channels=channels), target, images,
                name=name, recipe=recipe, checkpoint=checkpoint, device=where, observe=observe,
            )
    trained.save(options.out)
    best = ", ".join(f"{key} {value:.4f}" for key, value in trained.settings["validation"].items())
    console.print(f"wrote {options.out}; on validation images: {best}")
    return 0


def _thinned(data: Data, share: float, seed: int) -> Data:
    if not 0 < share <= 1:
        raise InputError(f"expected --share in (0, 1], got {share}")
    if share == 1 or data.train is None:
        return data
    return replace(data, train=data.train.sample(max(1, round(share * len(data.train))), seed))
