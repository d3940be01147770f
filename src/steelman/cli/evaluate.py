"""`steelman evaluate`: what a classifier keeps against an attacker who knows everything, and whether to trust it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.cli import bring, config

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Images

EXAMPLES = """examples:
  steelman evaluate --data mnist --out runs/cnn
  steelman evaluate --data mnist --defence unet --attack fgsm pgd --each --eps 0.05 0.15 --out runs/unet
  steelman evaluate --data mnist --defence jpeg:quality=50 --eps 0.1 --out runs/jpeg
  steelman evaluate --data mnist --detector mnist/combined --attack pgd --eps 0.3 --out runs/rejecting
  steelman evaluate --data my/images --model package.module:factory --weights mine.safetensors --eps 0.03
  steelman evaluate run.toml --set attack.eps=0.1

A run that was killed goes on when the same command is given again. steelman runs lists and compares them."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "evaluate",
        help="measure what a classifier keeps under attack, and whether to trust the figure",
        description="Measure what a classifier keeps against an attacker who knows the whole pipeline, prove what can "
        "be proved, and say whether the figure can be trusted; with a defence, static and adaptive side by side.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bring.add_images(command)
    bring.add_model(command)
    bring.add_attacks(command)
    command.set_defaults(attack=["standard"])
    command.add_argument("--defence", help="unet, puvae, jpeg:quality=50, …, a safetensors file, or none (none)")
    command.add_argument(
        "--detector",
        help="abstain where it is suspicious: mnist/combined, or a file; --defence is what it compares with",
    )
    command.add_argument("--fpr", type=float, default=0.05, help="share of clean images it may reject (.05)")
    command.add_argument("--batch", type=int, default=250, help="images that are journaled together (250)")
    command.add_argument("--each", action="store_true", help="make every attack on every image, for a row of its own")
    switch = argparse.BooleanOptionalAction
    command.add_argument("--certify", action=switch, default=True, help="try to prove what holds")
    command.add_argument("--curve", action=switch, default=True, help="find where accuracy goes at other radii")
    command.add_argument("--checks", action=switch, default=True, help="check whether the figure can be trusted")
    command.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="NAME",
        help="trust checks beside those that ship, a plug-in's or one of your own as in my_checks.py:darkness",
    )
    command.add_argument("--out", type=Path, default=Path("runs/evaluate"), help="the run folder (runs/evaluate)")
    config.add(command)
    command.add_argument("--fresh", action="store_true", help="begin again, whatever the run folder holds")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluates, prints what was found and writes the run folder."""
    from steelman.cli.console import command_line, console, evaluating, finish, writable
    from steelman.defences import guard
    from steelman.evaluation import checks
    from steelman.evaluation.evaluate import evaluate
    from steelman.evaluation.options import EvaluationOptions
    from steelman.evaluation.storing.store import FILE
    from steelman.norms import Linf
    from steelman.pipeline import wrapped

    options = config.read(options)
    images = bring.images(options)
    if options.eps is None and _usual(options, images):
        options.eps = [Linf.usual[images.id]]
        console.print(f"at eps {options.eps[0]:.4g}, as is usual for {images.id}: --eps says another")
    listed = bring.attacks(options, images)
    model = bring.model(options, images)
    purifier = bring.defence(options, images)
    device = next((parameter.device for parameter in model.parameters()), "cpu")
    pipeline: nn.Module = model if purifier is None else guard(purifier.to(device), model)
    if options.detector is not None:
        pipeline = bring.rejecting(options, images, model, purifier)
    label = options.defence if options.detector is None else f"rejecting by {Path(options.detector).stem}"
    label = label or ("none" if pipeline is model else "defended")
    writable(options.out)
    if (options.out / FILE).exists() and not options.fresh:
        console.print(f"going on with the run in {options.out}")
    with evaluating(f"evaluating on {images.name}") as observe:
        evaluation = evaluate(
            wrapped(
                pipeline,
                None if pipeline is model else model,
                classes=images.classes,
                input_shape=images.shape,
                name=options.model or f"{images.id}/cnn",
                defence=label,
            ),
            images,
            listed,
            EvaluationOptions(
                seed=options.seed,
                batch=options.batch,
                each=options.each,
                certify=options.certify,
                curve=options.curve,
                check=options.checks,
                extra_checks=tuple(checks.catalogue.resolve(name, code=True) for name in options.check),
            ),
            folder=options.out,
            fresh=options.fresh,
            about={"command": command_line(), "config": config.write(options)},
            progress=observe,
        )
    finish(evaluation, options.out)
    return 0


def _usual(options: argparse.Namespace, images: Images) -> bool:
    from steelman.attacks import Finds, catalogue, named
    from steelman.norms import Linf

    known = (name for name in options.attack if name in catalogue or ":" in name)
    bounded = [name for name in known if named(name, code=True).finds is Finds.WITHIN]
    return bool(bounded) and options.norm == "Linf" and images.id in Linf.usual
