"""The options by which a user brings a model, images and attacks; shared by the commands that take them."""

from __future__ import annotations

import argparse
import inspect
import json
import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import nn

    from steelman.attacks import AttackLike
    from steelman.data import Images
    from steelman.threat import Threat

NORMS = ("Linf", "L2", "L1", "L0")


def add_model(command: argparse.ArgumentParser) -> None:
    """Adds the options for a model, its weights and where it runs."""
    command.add_argument("--model", help="shipped as in mnist/cnn, cnn, vgg16, paper_vgg, or package.module:factory")
    command.add_argument("--weights", type=Path, help="safetensors for the model")
    command.add_argument("--device", default="auto", help="cpu, cuda or auto (auto)")
    command.add_argument("--seed", type=int, default=0)


def add_images(command: argparse.ArgumentParser) -> None:
    """Adds the options for a data set and how much of it."""
    command.add_argument("--data", default="mnist", help="mnist, fashion-mnist, a folder of images, an .npz (mnist)")
    command.add_argument("--like", help="your images are mnist, fashion-mnist or cifar10: its classifier, radii, …")
    command.add_argument("--images", type=int, default=1000, help="how many test images, seeded; 0 for all (1000)")


def add_attacks(command: argparse.ArgumentParser) -> None:
    """Adds the options for attacks and what they may do."""
    command.add_argument(
        "--attack",
        nargs="+",
        default=["pgd"],
        help="by name; several for evaluate; steelman attack --list has all (pgd)",
    )
    command.add_argument(
        "--eps",
        type=float,
        nargs="+",
        help="radius or radii, in units of [0, 1] images; needless for attacks that look for the smallest change",
    )
    command.add_argument("--norm", choices=NORMS, default="Linf")
    command.add_argument("--steps", type=int, help="of attacks that take steps")
    command.add_argument("--size", type=float, help="of one step of bim and pgd")
    command.add_argument("--restarts", type=int, help="of attacks that start at random")
    command.add_argument("--queries", type=int, help="that attacks without gradients may spend on an image")
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="other settings of the attack; for evaluate any key of its file too, as in attack.eps=0.1",
    )
    command.add_argument("--surrogate", help="make the attack on another model, mnist/cnn or package.module:factory")
    command.add_argument(
        "--grid", action="store_true", help="only images that 8 bits hold, still adversarial as PNG files"
    )


def model(options: argparse.Namespace, images: Images) -> nn.Module:
    """Returns the model that the options name, the shipped one of the data set if they name none, tried on an image.

    Raises InputError if it is untrained, or does not read such images as so many classes.
    """
    from steelman import models
    from steelman.cli.console import device

    name = options.model or f"{images.id}/cnn"
    if options.model is None and name not in models.shipped():
        raise InputError(
            f"expected --model for {images.name}, as no classifier ships for it: say package.module:factory, "
            "or --like mnist where that is what they are"
        )
    if name in models.catalogue.shipped and options.weights is None:
        raise InputError(f"expected --weights for {name}, which is untrained without: give a safetensors file")
    kind = models.catalogue.resolve(name, code=True)
    built = models.build(kind, channels=images.shape[0], classes=images.num_classes, weights_file=options.weights)
    built = models.fitted(built, images.shape).to(device(options.device)).eval()
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
    if not out.is_floating_point() or not bool(torch.isfinite(out).all()):
        got = "NaN or infinite ones" if out.is_floating_point() else out.dtype
        raise InputError(f"expected finite floats of {name} for an image, got {got}")


def images(options: argparse.Namespace) -> Images:
    """Returns the test images that the options name."""
    from steelman import data

    test = data.load(options.data, like=getattr(options, "like", None)).test
    if options.images < 0:
        raise InputError(f"expected --images as a number of images, or 0 for all, got {options.images}")
    if not -(2**63) <= options.seed < 2**63:
        raise InputError(f"expected --seed as a whole number of at most 64 bits, got {options.seed}")
    return test if options.images == 0 or options.images >= len(test) else test.sample(options.images, options.seed)


def attacks(options: argparse.Namespace, images: Images, *, targeted: bool = False) -> list[AttackLike]:
    """Returns every named attack at every radius; with a surrogate, made on that.

    targeted: made for labels that are the classes to reach.
    Raises InputError for settings that an attack does not have, for one that has no targeted form, and for no radius
    where one is needed.
    """
    from steelman.attacks import Finds, named

    made: list[AttackLike] = []
    for name in options.attack:
        entry = named("pgd" if name == "transfer" else name, code=True)
        settings = _settings(options, name, alone=len(options.attack) == 1)
        if name == "transfer" and options.surrogate is None:
            raise InputError("expected --surrogate for transfer, the model that it is made on: say mnist/cnn, …")
        if targeted and not entry.targeted:
            raise InputError(f"expected no --target for {name}, which has no targeted form")
        settings |= {"targeted": True} if targeted else {}
        if options.eps is None and entry.finds is Finds.WITHIN:
            raise InputError(f"expected --eps for {name}, which works inside a radius: say --eps 0.1")
        if entry.finds is Finds.OUTSIDE:
            made.append(_made(name, **settings))
        else:
            made += [_made(name, _threat(options, eps), **settings) for eps in options.eps or [math.inf]]
    return [_through(attack, options, images) for attack in made] if options.surrogate else made


def _made(name: str, *threat: Threat, **settings: object) -> AttackLike:
    from steelman.attacks import named

    try:
        return named("pgd" if name == "transfer" else name, code=True)(*threat, **settings)
    except InputError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"expected settings that make {name}, got {settings}, but {told}") from None


def _threat(options: argparse.Namespace, eps: float) -> Threat:
    from steelman import norms
    from steelman.threat import Threat

    return Threat(getattr(norms, options.norm)(eps), levels=256 if options.grid else None)


def _through(attack: AttackLike, options: argparse.Namespace, images: Images) -> AttackLike:
    """An attack that is made on the surrogate."""
    from steelman import models
    from steelman.attacks import transfer
    from steelman.cli.console import device

    if attack.learns_from_all:
        raise InputError(f"expected no --surrogate for {attack.name}, which learns from many images: leave it out")
    name = options.surrogate
    if name in models.catalogue.shipped:
        raise InputError(f"expected a trained --surrogate, got {name}: say mnist/cnn, or package.module:factory")
    kind = models.catalogue.resolve(name, code=True)
    surrogate = models.build(kind, channels=images.shape[0], classes=images.num_classes).to(device(options.device))
    _try(surrogate, images, name, f"logits (1, {images.num_classes})", (1, images.num_classes))
    return transfer(attack, surrogate, called=name)


def takes(name: str) -> set[str]:
    """Returns the names of the settings that a user can give an attack of the catalogue; of transfer, those of pgd.

    Raises InputError for another name.
    """
    from steelman.attacks import named

    parameters = inspect.signature(named("pgd" if name == "transfer" else name, code=True).recipe).parameters.items()
    functions = {key for key, it in parameters if callable(it.default) or "Loss" in str(it.annotation)}
    return {key for key, _ in parameters} - functions - {"threat", "targeted"}


def _settings(options: argparse.Namespace, name: str, *, alone: bool) -> dict[str, object]:
    """What the options say of one attack; with several attacks, what one does not know is for the others."""
    known = takes(name)
    given = {key: getattr(options, key) for key in ("steps", "size", "restarts", "queries")}
    given = {key: value for key, value in given.items() if value is not None}
    refused = sorted(given.keys() - known)
    if refused and alone:
        raise InputError(f"expected no --{refused[0]} for {name}, which has none: leave it out")
    for word in options.set:
        key, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"expected --set as NAME=VALUE, got {word!r}")
        if key not in known and alone:
            raise unknown(f"setting of {name}", key, known)
        given[key] = parsed(text)
    return {key: value for key, value in given.items() if key in known}


def settings(words: Iterable[str], what: str, takes: Collection[str]) -> dict[str, Any]:
    """Returns NAME=VALUE words as settings.

    what: as an error calls one, as in "setting of trades".  takes: their names.
    Raises InputError for a word that is none, or a name that is not among these, with the nearest ones.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"expected --set as NAME=VALUE, got {word!r}")
        if name not in takes:
            raise unknown(what, name, takes)
        found[name] = parsed(text)
    return found


def parsed(text: str) -> object:
    """Returns a number, true, false or none as such, and anything else as a word."""
    try:
        return json.loads({"none": "null"}.get(text.lower(), text.lower()))
    except ValueError:
        return text


def defence(options: argparse.Namespace, images: Images) -> nn.Module | None:
    """Returns the defence that the options name, tried on an image; None for none."""
    from steelman import defences, models

    if options.defence in (None, "none"):
        return None
    name, settings = with_settings(options.defence)
    purifier = defences.ready(name, settings, data=images.id, channels=images.shape[0], code=True)
    purifier = models.fitted(purifier, images.shape)
    _try(purifier, images, name, f"an image (1, {', '.join(map(str, images.shape))})", (1, *images.shape))
    return purifier


def rejecting(
    options: argparse.Namespace, images: Images, classifier: nn.Module, purifier: nn.Module | None
) -> nn.Module:
    """Returns the classifier that abstains where the named detector is suspicious.

    The threshold is set on training images that only validate. A detector that compares with a purifier gets the named
    one, or the data set's `unet`.
    Raises InputError for another detector or share, and for a data set without training images.
    """
    from steelman import data, defences
    from steelman.defences import detectors

    loaded = data.load(options.data, like=options.like)
    if purifier is None and f"{loaded.id}/unet" in defences.shipped():
        purifier = defences.load(f"{loaded.id}/unet")
    device = next(classifier.parameters()).device
    beside = None if purifier is None else purifier.to(device)
    name, settings = with_settings(options.detector)
    detector = detectors.ready(name, settings, classifier, beside, code=True).to(device)
    _, held = loaded.split(0)
    return defences.reject(detector, classifier, options.fpr, validation=held.x[:1000].to(device))


def with_settings(text: str) -> tuple[str, dict[str, Any]]:
    """Returns a name and the settings behind it, as in jpeg:quality=50,gradient=identity; a bare name has none."""
    name, colon, listed = text.rpartition(":")
    if not colon or "=" not in listed:
        return text, {}
    found = {}
    for word in listed.split(","):
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"expected settings as NAME:KEY=VALUE,KEY=VALUE, got {text!r}")
        found[key] = parsed(value)
    return name, found
