"""`steelman pipeline`: a classifier and what defends it as one value, in a folder of its own."""

from __future__ import annotations

import argparse

from steelman.cli import options
from steelman.spec import RunSpec

EXAMPLES = """examples:
  steelman pipeline --data mnist --defence unet --out pipelines/unet
  steelman pipeline --data mnist --detector mnist/combined --fpr 0.01 --out pipelines/rejecting
  steelman evaluate --data mnist --model pipelines/unet --attack pgd --eps 0.1

pipeline.json says what every stage is made of, beside the weights of each. What is loaded again is what was saved, by
its fingerprint, or an error."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = (
        "Put a classifier and its defence together, try them on an image, and save them to a folder that --model takes."
    )
    command.epilog = EXAMPLES
    keys = ("data.name", "data.like", "model.name", "model.weights", "defence.name", "defence.detector", "defence.fpr")
    options.add(command, *keys, "run.out", usual={"run.out": "runs/pipeline"}, says={"run.out": "the folder to write"})
    options.add_trust(command)
    command.set_defaults(run=run)


def run(spec: RunSpec, *, trust_code: bool) -> int:
    """Builds, saves and shows a pipeline."""
    from rich.table import Table
    from rich.text import Text

    from steelman.cli.console import console
    from steelman.data import load
    from steelman.pipeline import build

    data = load(spec.data.name, like=spec.data.like)
    pipeline = build(spec.pipeline, data, trust_code=trust_code)
    pipeline.save(spec.run.out)
    table = Table("stage", "what", "parameters")
    for name, stage in pipeline.stages():
        count = sum(value.numel() for value in stage.parameters())
        table.add_row(*map(Text, (name, type(stage).__name__, f"{count:,}")))
    console.print(table)
    console.print(f"fingerprint {pipeline.fingerprint().sha256[:16]}; wrote {spec.run.out}")
    return 0
