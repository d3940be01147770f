"""`steelman evaluate`: what a classifier keeps under attack, with and without a defence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.cli import bring

if TYPE_CHECKING:
    from torch import nn

EXAMPLES = """examples:
  steelman evaluate --data mnist --defence unet --attack fgsm pgd --eps 0.05 0.15 --out runs/unet
  steelman evaluate --data mnist --defence jpeg:quality=50 --attack pgd --eps 0.1 --out runs/jpeg
  steelman evaluate --data mnist --detector mnist/combined --attack pgd --eps 0.3 --out runs/rejecting
  steelman evaluate --data my/images --model package.module:factory --weights mine.safetensors --eps 0.03"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "evaluate",
        help="measure a classifier under attack, with or without a defence",
        description="Measure what a classifier keeps under attack; with a defence, static and adaptive side by side.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bring.add_images(command)
    bring.add_model(command)
    bring.add_attacks(command)
    command.add_argument("--defence", help="unet, puvae, jpeg:quality=50, …, a safetensors file, or none (none)")
    command.add_argument(
        "--detector",
        help="abstain where it is suspicious: mnist/combined, or a file; --defence is what it compares with",
    )
    command.add_argument("--fpr", type=float, default=0.05, help="share of clean images it may reject (.05)")
    command.add_argument("--out", type=Path, default=Path("runs/evaluate"), help="the run folder (runs/evaluate)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluates, prints the table and writes the run folder."""
    from steelman.cli.show import evaluating, finish, writable
    from steelman.defences import guard
    from steelman.evaluation.evaluate import evaluate

    images = bring.images(options)
    listed = bring.attacks(options, images)
    model = bring.model(options, images)
    purifier = bring.defence(options, images)
    device = next(model.parameters()).device
    pipeline: nn.Module = model if purifier is None else guard(purifier.to(device), model)
    if options.detector is not None:
        pipeline = bring.rejecting(options, images, model, purifier)
    writable(options.out)
    with evaluating(f"evaluating on {images.name}") as observe:
        evaluation = evaluate(
            pipeline,
            images,
            listed,
            undefended=None if pipeline is model else model,
            name=options.model or f"{images.name.removesuffix(' test')}/cnn",
            defence=options.defence if options.detector is None else f"rejecting by {Path(options.detector).stem}",
            seed=options.seed,
            observe=observe,
        )
    finish(evaluation, options.out)
    return 0
