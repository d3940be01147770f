"""`steelman reproduce`: the paper's tables and figures, from data to HTML."""

from __future__ import annotations

import argparse
from typing import Any, TypeVar

from steelman.cli import options
from steelman.errors import InputError, unknown
from steelman.spec import RunSpec

Number = TypeVar("Number", int, float)
PAPER = ("1a", "1b", "2", "3")
OURS = ("defences", "holds", "breadth", "training", "ablation")

EXAMPLES = """examples:
  steelman reproduce --out runs/demo
  steelman reproduce --profile full --classifier vgg16 --out runs/full
  steelman reproduce --profile full --classifier paper_vgg --tables 2 --protocols as-published --out runs/paper
  steelman reproduce --tables defences --images 200 --out runs/defences      # about 50 minutes a data set on one core
  steelman reproduce --tables holds --out runs/holds                         # about 3 hours a data set on one core
  steelman reproduce --tables breadth --out runs/breadth                     # about half an hour a data set
  steelman reproduce --tables training --images 500 --out runs/training      # trains five networks, half an hour
  steelman reproduce --tables ablation --datasets mnist --out runs/ablation  # trains 17 purifiers, two hours on a core

quick: shipped weights, the compact classifier, 1,000 seeded test images a cell.
full:  10,000 images; what has no weights is trained into the run folder first, and taken from there the next time.
       On a CPU a VGG sees a quarter of the training images, and PGD attacks 5,000 of them, unless --share and
       --attacked say otherwise; the report says so.

holds:   clean, static, adaptive worst and certified accuracy of the defences that matter, under standard and AutoAttack
         together, and a picture of the paper's purifier and ours before the same attack. It is long: each image that
         survives takes thousands of passes. Killed, it goes on when the same is said again.
breadth: a purifier against every eps of the paper's tables, L2, one pixel, JSMA, Square and corruptions, and a row for
         the worst of what was never seen in training."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = "Measure tables 1a, 1b, 2 and 3 of the paper again and write results.json and report.html."
    command.epilog = EXAMPLES
    command.add_argument("--profile", choices=["quick", "full"], default="quick")
    command.add_argument("--datasets", nargs="+", default=["mnist", "fashion-mnist"])
    command.add_argument("--classifier", choices=["cnn", "vgg16", "paper_vgg"], help="cnn (quick), vgg16 (full)")
    command.add_argument(
        "--tables",
        nargs="+",
        choices=[*PAPER, *OURS],
        default=PAPER,
        help="the paper's 1a, 1b, 2 and 3; every defence (defences); what survives the worst case and what is proved "
        "(holds); one purifier against everything (breadth); the article's comparison (training); each ingredient "
        "of a training (ablation) (1a 1b 2 3)",
    )
    protocols = ["as-published", "static", "adaptive"]
    command.add_argument("--protocols", nargs="+", choices=protocols, default=protocols)
    command.add_argument(
        "--images", type=int, help="test images a cell (1000 quick, 500 for the ablation alone, 10000 full)"
    )
    command.add_argument("--share", type=float, help="of the training images, how many serve what is trained (1)")
    command.add_argument(
        "--attacked", type=int, help="training images that PGD attacks for the paper's auto-encoder (all)"
    )
    command.add_argument("--retrain", action="store_true", help="train everything again, the shipped weights too")
    options.add(command, "run.seed", "model.device", "run.out", usual={"run.out": "runs/reproduce"})
    command.set_defaults(run=run)


def run(
    spec: RunSpec,
    *,
    tables: list[str],
    classifier: str | None,
    images: int | None,
    share: float | None,
    attacked: int | None,
    **asked: Any,
) -> int:
    """Measures, prints the tables and writes the run folder.

    asked: what a plan takes as it was said.
    """
    from steelman.cli.console import finish, following
    from steelman.device import device
    from steelman.files import writable
    from steelman.studies.paper import reproduce
    from steelman.studies.paper_setup import Plan
    from steelman.studies.published import DATASETS

    asked |= {key: tuple(dict.fromkeys(asked[key])) for key in ("datasets", "protocols")}
    for name in asked["datasets"]:
        if name not in DATASETS:
            raise unknown("data set of the paper", name, DATASETS)
    full = asked["profile"] == "full"
    classifier = classifier or ("vgg16" if full else "cnn")
    where = device(spec.pipeline.device)
    slow, few = where == "cpu" and classifier != "cnn", tables == ["ablation"]
    plan = Plan(
        classifier=classifier,
        tables=tuple(tables),
        images=_within("--images", images, 10_000 if full else 500 if few else 1000, 1, 10_000),
        share=_within("--share", share, 0.25 if slow else 1.0, 0.001, 1),
        attacked=_within("--attacked", attacked, 5000, 100, 60_000) if slow or attacked is not None else None,
        seed=spec.run.seed,
        device=where,
        out=spec.run.out,
        **asked,
    )
    writable(plan.out)
    with following("measuring") as progress:
        evaluation = reproduce(plan, progress)
    finish(evaluation, plan.out)
    return 0


def _within(what: str, given: Number | None, usual: Number, low: float, high: float) -> Number:
    value = usual if given is None else given
    if not low <= value <= high:
        raise InputError(f"expected {what} from {low:g} to {high:g}, got {value:g}")
    return value
