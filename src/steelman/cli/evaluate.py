"""`steelman evaluate`: what a classifier keeps against an attacker who knows everything, and whether to trust it."""

from __future__ import annotations

import argparse

from steelman.cli import options
from steelman.spec import RunSpec
from steelman.spec.options import OPTIONS

EXAMPLES = """examples:
  steelman evaluate --data mnist --out runs/cnn
  steelman evaluate --data mnist --defence unet --attack fgsm pgd --each --eps 0.05 0.15 --out runs/unet
  steelman evaluate --data mnist --defence jpeg:quality=50 --eps 0.1 --out runs/jpeg
  steelman evaluate --data mnist --detector mnist/combined --attack pgd --eps 0.3 --out runs/rejecting
  steelman evaluate --data my/images --model package.module:factory --weights mine.safetensors --eps 0.03
  steelman evaluate run.toml --set attack.eps=0.1

A run that was killed goes on when the same command is given again. steelman runs lists and compares them."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = (
        "Measure what a classifier keeps against an attacker who knows the whole pipeline, prove what can "
        "be proved, and say whether the figure can be trusted; with a defence, static and adaptive side by side."
    )
    command.epilog = EXAMPLES
    options.add(command, *OPTIONS)
    options.add_file(command)
    options.add_trust(command)
    command.add_argument("--fresh", action="store_true", help="begin again, whatever the run folder holds")
    command.set_defaults(run=run)


def run(spec: RunSpec, *, fresh: bool, trust_code: bool) -> int:
    """Evaluates, prints what was found and writes the run folder."""
    from steelman.cli.console import command_line, console, finish, following
    from steelman.device import device
    from steelman.evaluation import checks
    from steelman.evaluation.evaluate import evaluate
    from steelman.evaluation.options import EvaluationOptions
    from steelman.evaluation.storing.store import FILE
    from steelman.files import writable
    from steelman.pipeline import build
    from steelman.spec.build import attacks, images, usual

    data, test = images(spec)
    if (eps := usual(spec.attacks, data.id)) is not None:
        spec = spec.model_copy(update={"attacks": spec.attacks.model_copy(update={"eps": (eps,)})})
        console.print(f"at eps {eps:.4g}, as is usual for {data.id}: --eps says another")
    where, out = device(spec.pipeline.device), spec.run.out
    listed = attacks(spec.attacks, data, where)
    pipeline = build(spec.pipeline, data, device=where, trust_code=trust_code)
    writable(out)
    if (out / FILE).exists() and not fresh:
        console.print(f"going on with the run in {out}")
    with following(f"evaluating on {test.name}") as progress:
        evaluation = evaluate(
            pipeline,
            test,
            listed,
            EvaluationOptions(
                seed=spec.run.seed,
                batch=spec.run.batch,
                each=spec.run.each,
                certify=spec.run.certify,
                curve=spec.run.curve,
                check=spec.run.checks,
                extra_checks=tuple(checks.catalogue.resolve(name, code=True) for name in spec.run.check or ()),
            ),
            folder=out,
            fresh=fresh,
            about={"command": command_line(), "config": spec.to_toml()},
            progress=progress,
        )
    finish(evaluation, out)
    return 0
