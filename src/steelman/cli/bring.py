"""The options by which a user brings a model, images and attacks; shared by the commands that take them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import nn

    from steelman.attacks import Attack
    from steelman.data import Images

NORMS = ("Linf", "L2", "L1")


def add_model(command: argparse.ArgumentParser) -> None:
    """Adds the options for a model, its weights and where it runs."""
    command.add_argument("--model", help="shipped as in mnist/cnn, cnn, vgg16, paper_vgg, or package.module:factory")
    command.add_argument("--weights", type=Path, help="safetensors for the model")
    command.add_argument("--device", default="auto", help="cpu, cuda or auto (auto)")
    command.add_argument("--seed", type=int, default=0)


def add_images(command: argparse.ArgumentParser) -> None:
    """Adds the options for a data set and how much of it."""
    command.add_argument("--data", default="mnist", help="mnist, fashion-mnist, a folder of images, an .npz (mnist)")
    command.add_argument("--images", type=int, default=1000, help="how many test images, seeded; 0 for all (1000)")


def add_attacks(command: argparse.ArgumentParser) -> None:
    """Adds the options for attacks and what they may do."""
    command.add_argument("--attack", nargs="+", default=["pgd"], help="fgsm, bim, pgd; several for evaluate (pgd)")
    command.add_argument(
        "--eps", type=float, nargs="+", required=True, help="radius or radii, in units of [0, 1] images"
    )
    command.add_argument("--norm", choices=NORMS, default="Linf")
    command.add_argument("--steps", type=int, help="of bim and pgd")
    command.add_argument("--size", type=float, help="of one step of bim and pgd")
    command.add_argument("--restarts", type=int, help="of pgd")


def model(options: argparse.Namespace, images: Images) -> nn.Module:
    """Returns the model that the options name, the shipped one of the data set if they name none."""
    from steelman import models
    from steelman.cli.show import device

    name = options.model or f"{images.name.removesuffix(' test')}/cnn"
    if options.model is None and name not in models.shipped():
        raise InputError(
            f"expected --model for {images.name}, as no classifier ships for it: say package.module:factory"
        )
    built = models.build(name, channels=images.shape[0], classes=images.num_classes, weights_file=options.weights)
    if name in models.SIDE_32 and images.shape[-1] != 32:
        built = models.Resized(built, 32)
    return built.to(device(options.device)).eval()


def images(options: argparse.Namespace) -> Images:
    """Returns the test images that the options name."""
    from steelman import data

    test = data.load(options.data).test
    if options.images < 0:
        raise InputError(f"expected --images >= 0, got {options.images}")
    return (
        test
        if options.images in (0, len(test)) or options.images > len(test)
        else test.sample(options.images, options.seed)
    )


def attacks(options: argparse.Namespace) -> list[Attack]:
    """Returns every named attack at every radius."""
    from steelman import norms
    from steelman.attacks import named

    ball = getattr(norms, options.norm)
    given = {"steps": options.steps, "size": options.size, "restarts": options.restarts}
    made = []
    for name in options.attack:
        recipe = named(name)
        takes = set(recipe.__kwdefaults__ or {})
        settings = {key: value for key, value in given.items() if value is not None and key in takes}
        refused = sorted(key for key, value in given.items() if value is not None and key not in takes)
        if refused and len(options.attack) == 1:
            raise InputError(f"expected no --{refused[0]} for {name}, which has none: leave it out")
        made += [recipe(ball(eps), **settings) for eps in options.eps]
    return made


def defence(options: argparse.Namespace, images: Images) -> nn.Module | None:
    """Returns the defence that the options name, None for none."""
    from steelman import defences

    name = options.defence
    if name in (None, "none"):
        return None
    own = f"{images.name.removesuffix(' test')}/{name}"
    if own in defences.shipped():
        return defences.load(own)
    if name in defences.shipped() or Path(name).is_file():
        return defences.load(name)
    raise unknown("defence", name, [*defences.shipped(), "none", "a safetensors file"])
