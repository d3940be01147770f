"""`steelman train`: one file for each kind of training, all of them to a safetensors file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from steelman.cli import options
from steelman.cli.train import classifier, detector, distilled, purifier, robust
from steelman.cli.train.given import Given
from steelman.errors import InputError
from steelman.spec import RunSpec

if TYPE_CHECKING:
    from steelman.data import Data

__all__ = ["KINDS", "Given", "add", "classifier", "detector", "distilled", "purifier", "robust", "run"]

KINDS = (classifier, robust, distilled, purifier, detector)
"""Modules with HELP and EXAMPLES, `add` for their own options, NAMED, the option that says what is trained, `recipe`,
how that is fitted unless told, and `train`."""

_RECIPE = ("epochs", "batch_size", "rate", "patience", "average", "awp", "precision")


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = "Train a classifier or a defence and write its weights as safetensors."
    command.epilog = "examples:\n" + "".join(f"  {line}\n" for kind in KINDS for line in kind.EXAMPLES)
    kinds = command.add_subparsers(required=True, metavar="what")
    for kind in KINDS:
        own = kinds.add_parser(
            kind.__name__.rpartition(".")[2],
            help=kind.HELP,
            description=f"Train {kind.HELP}. One that was killed goes on where it was when the command is given again.",
            epilog="examples:\n" + "".join(f"  {line}\n" for line in kind.EXAMPLES),
        )
        options.add(own, "data.name")
        kind.add(own)
        own.add_argument("--share", type=float, default=1.0, help="of the training images, how many serve (1)")
        own.add_argument("--epochs", type=int)
        own.add_argument("--batch-size", type=int)
        own.add_argument("--rate", type=float, help="the highest learning rate")
        own.add_argument("--patience", type=int, help="epochs without a better validation before it stops (never)")
        own.add_argument("--average", type=float, help="decay of the average of the weights that is kept, 0 for none")
        own.add_argument("--awp", type=float, help="adversarial weight perturbation, where it learns from attacks (0)")
        own.add_argument("--precision", choices=["auto", "fp32", "bf16"])
        options.add(own, "run.seed", "model.device")
        own.add_argument("--half", action="store_true", help="store the weights in 16 bits: half the file")
        own.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
        own.set_defaults(run=run, kind=kind)


def run(spec: RunSpec, *, kind: ModuleType, out: Path, share: float, half: bool, **asked: Any) -> int:
    """Trains and writes.

    asked: the options of the recipe and of the kind.
    """
    from steelman import data
    from steelman.cli.console import command_line, console, following
    from steelman.device import device
    from steelman.files import writable
    from steelman.training import named

    images = _thinned(data.load(spec.data.name), share, spec.run.seed)
    fit = {key: asked.pop(key) for key in _RECIPE}
    name = asked[kind.NAMED]
    recipe = named(kind.recipe(name), seed=spec.run.seed, **fit)
    where = device(spec.pipeline.device)
    if out.is_dir():
        raise InputError(f"expected --out as a file to write, got the folder {out}: say {out}/weights.safetensors")
    checkpoint = out.with_suffix(".checkpoint")
    writable(out.parent)
    with following(f"{kind.__name__.rpartition('.')[2]} {name} on {images.name}") as progress:
        how = {"checkpoint": checkpoint, "device": where, "progress": progress}
        given = Given(spec, images, recipe, fit["epochs"], how, out)
        trained = kind.train(given, **asked)
    trained = replace(trained, settings={**trained.settings, "command": command_line()})
    trained.save(out, checkpoint, half=half)
    best = ", ".join(f"{key} {value:.4f}" for key, value in trained.settings["validation"].items())
    console.print(f"wrote {out}; on validation images: {best}")
    return 0


def _thinned(data: Data, share: float, seed: int) -> Data:
    if not 0 < share <= 1:
        raise InputError(f"expected --share in (0, 1], got {share}")
    if share == 1 or data.train is None:
        return data
    return replace(data, train=data.train.sample(max(1, round(share * len(data.train))), seed))
