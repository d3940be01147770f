"""`steelman train`: one file for each kind of training, all of them to a safetensors file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.cli.train import classifier, detector, distilled, purifier, robust
from steelman.errors import InputError

if TYPE_CHECKING:
    from steelman.data import Data

__all__ = ["KINDS", "add", "classifier", "detector", "distilled", "purifier", "robust", "run"]

KINDS = (classifier, robust, distilled, purifier, detector)
"""Modules with HELP and EXAMPLES, `add` for their own options, `named` for what is trained and how, and `train`."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "train",
        help="train a classifier or a defence",
        description="Train a classifier or a defence and write its weights as safetensors.",
        epilog="examples:\n" + "".join(f"  {line}\n" for kind in KINDS for line in kind.EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = command.add_subparsers(dest="what", required=True, metavar="what")
    for kind in KINDS:
        name = kind.__name__.rpartition(".")[2]
        own = kinds.add_parser(
            name,
            help=kind.HELP,
            description=f"Train {kind.HELP}. One that was killed goes on where it was when the command is given again.",
            epilog="examples:\n" + "".join(f"  {line}\n" for line in kind.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        own.add_argument("--data", default="mnist", help="mnist, fashion-mnist, a folder of images, an .npz (mnist)")
        kind.add(own)
        own.add_argument("--share", type=float, default=1.0, help="of the training images, how many serve (1)")
        own.add_argument("--epochs", type=int)
        own.add_argument("--batch-size", type=int)
        own.add_argument("--rate", type=float, help="the highest learning rate")
        own.add_argument("--patience", type=int, help="epochs without a better validation before it stops (never)")
        own.add_argument("--average", type=float, help="decay of the average of the weights that is kept, 0 for none")
        own.add_argument("--awp", type=float, help="adversarial weight perturbation, where it learns from attacks (0)")
        own.add_argument("--precision", choices=["auto", "fp32", "bf16"])
        own.add_argument("--seed", type=int)
        own.add_argument("--device", default="auto", help="cpu, cuda or auto (auto)")
        own.add_argument("--half", action="store_true", help="store the weights in 16 bits: half the file")
        own.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
        own.set_defaults(run=run, kind=kind)


def run(options: argparse.Namespace) -> int:
    """Trains and writes."""
    from steelman import data
    from steelman.cli.console import command_line, console, device, fitting, writable
    from steelman.training import named

    images = _thinned(data.load(options.data), options.share, options.seed or 0)
    name, usual = options.kind.named(options)
    given = ("epochs", "batch_size", "rate", "patience", "average", "awp", "precision", "seed")
    recipe = named(usual, **{key: getattr(options, key) for key in given})
    where = device(options.device)
    if options.out.is_dir():
        raise InputError(
            f"expected --out as a file to write, got the folder {options.out}: say {options.out}/weights.safetensors"
        )
    checkpoint = options.out.with_suffix(".checkpoint")
    writable(options.out.parent)
    with fitting(f"{options.what} {name} on {images.name}") as observe:
        how = {"checkpoint": checkpoint, "device": where, "observe": observe}
        trained = options.kind.train(options, images, recipe, how)
    trained = replace(trained, settings={**trained.settings, "command": command_line()})
    trained.save(options.out, checkpoint, half=options.half)
    best = ", ".join(f"{key} {value:.4f}" for key, value in trained.settings["validation"].items())
    console.print(f"wrote {options.out}; on validation images: {best}")
    return 0


def _thinned(data: Data, share: float, seed: int) -> Data:
    if not 0 < share <= 1:
        raise InputError(f"expected --share in (0, 1], got {share}")
    if share == 1 or data.train is None:
        return data
    return replace(data, train=data.train.sample(max(1, round(share * len(data.train))), seed))
