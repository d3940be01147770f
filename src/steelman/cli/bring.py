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
    """Returns the model that the options name, the shipped one of the data set if they name none, tried on an image.

    Raises InputError if it is untrained, or does not read such images as so many classes.
    """
    from steelman import models
    from steelman.cli.show import device

    name = options.model or f"{_name(images)}/cnn"
    if options.model is None and name not in models.shipped():
        raise InputError(
            f"expected --model for {images.name}, as no classifier ships for it: say package.module:factory"
        )
    if name in models.catalogue and options.weights is None:
        raise InputError(f"expected --weights for {name}, which is untrained without: give a safetensors file")
    built = models.build(name, channels=images.shape[0], classes=images.num_classes, weights_file=options.weights)
    if name in models.SIDE_32 and images.shape[-2:] != (32, 32):
        built = models.Resized(built, 32)
    built = built.to(device(options.device)).eval()
    _try(built, images, name, f"logits (1, {images.num_classes})", (1, images.num_classes))
    return built


def _try(module: nn.Module, images: Images, name: str, wanted: str, shape: tuple[int, ...]) -> None:
    """Shows a module one image, so that what does not fit is found before any work."""
    import torch

    from steelman.evaluation.measure import on

    x, _ = on(module, images.take(torch.tensor([0])))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            out = module(x)
    except InputError:
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise InputError(
            f"expected {name} to take images {tuple(x.shape)}, but {type(error).__name__}: {told}"
        ) from error
    came = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
    if came != shape:
        raise InputError(f"expected {wanted} of {name} for an image {tuple(x.shape)}, got {came}")


def _name(images: Images) -> str:
    return images.name.removesuffix(" test")


def images(options: argparse.Namespace) -> Images:
    """Returns the test images that the options name."""
    from steelman import data

    test = data.load(options.data).test
    if options.images < 0:
        raise InputError(f"expected --images as a number of images, or 0 for all, got {options.images}")
    return test if options.images == 0 or options.images >= len(test) else test.sample(options.images, options.seed)


def attacks(options: argparse.Namespace) -> list[Attack]:
    """Returns every named attack at every radius."""
    from steelman import norms
    from steelman.attacks import named

    ball = getattr(norms, options.norm)
    given = {"steps": options.steps, "size": options.size, "restarts": options.restarts}
    made = []
    for name in options.attack:
        recipe = named(name)
        takes = set(recipe.recipe.__kwdefaults__ or {})
        settings = {key: value for key, value in given.items() if value is not None and key in takes}
        refused = sorted(key for key, value in given.items() if value is not None and key not in takes)
        if refused and len(options.attack) == 1:
            raise InputError(f"expected no --{refused[0]} for {name}, which has none: leave it out")
        made += [recipe(ball(eps), **settings) for eps in options.eps]
    return made


def defence(options: argparse.Namespace, images: Images) -> nn.Module | None:
    """Returns the defence that the options name, tried on an image; None for none."""
    from steelman import defences, models

    name = options.defence
    if name in (None, "none"):
        return None
    own = f"{_name(images)}/{name}"
    if own not in defences.shipped() and name not in defences.shipped() and not Path(name).is_file():
        raise unknown("defence", name, [*(d for d in defences.shipped()), "none", "a safetensors file"])
    purifier = defences.load(own if own in defences.shipped() else name)
    if isinstance(purifier, defences.ConvAutoencoder) and images.shape[-2:] != (32, 32):
        purifier = models.Resized(purifier, 32)
    _try(purifier, images, name, f"an image (1, {', '.join(map(str, images.shape))})", (1, *images.shape))
    return purifier
