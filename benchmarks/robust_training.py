"""Objectives of robust training: what a step of each costs, and what each withstands after the same budget.

    python benchmarks/robust_training.py
    python benchmarks/robust_training.py --train

The first measures CPU time of steps on one batch, in turn so that a busy machine slows all alike, beside steps of
training on labels. The second also trains a network to each objective and attacks it; one that was killed goes on
where it was when the command is given again, and what stands in the file is not trained anew.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from attacks import machine
from steelman import data, models
from steelman.attacks import AttackLike, apgd, standard
from steelman.cli.console import following
from steelman.errors import InputError, unknown
from steelman.evaluation.intervals import clopper_pearson
from steelman.files import put_bytes
from steelman.norms import Linf
from steelman.precision import precision
from steelman.training import Classify, Objective, Trained, classifier, cost, named, robust, seeded
from steelman.training.objectives import catalogue, objective

LABELS = "labels alone"


@dataclass(frozen=True)
class Case:
    """An objective of the catalogue with settings. many: whether its attack takes as many steps as it is told."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    many: bool = False


CASES = {
    "madry": Case("madry", many=True),
    "mixed": Case("mixed"),
    "mixed, pgd": Case("mixed", {"attack": "pgd"}, many=True),
    "adversarial pairing": Case("logit-pairing", many=True),
    "clean pairing": Case("logit-pairing", {"pairing": "clean"}),
    "trades, beta 6": Case("trades", many=True),
    "trades, beta 1": Case("trades", {"beta": 1.0}, many=True),
    "mart": Case("mart"),
    "guided": Case("guided"),
} | {name: Case(name) for name in ("fast", "free") if name in catalogue}


def aim(case: Case, eps: float, steps: int | None, ramp: float) -> Objective:
    """Returns the objective of a case; `steps` of 2.5 eps / steps each replace the paper's where it takes many."""
    return objective(case.name, Linf(eps), ramp=ramp, **case.settings, **_stepping(case, eps, steps))


def _stepping(case: Case, eps: float, steps: int | None) -> dict[str, Any]:
    return {"steps": steps, "size": 2.5 * eps / steps} if case.many and steps else {}


def timed(aims: dict[str, Objective], name: str, batch: tuple[Tensor, Tensor], rounds: int, form: str) -> list[Any]:
    """Returns for each objective the CPU seconds of a step, and its multiples of a step on labels.

    Every round takes a step of each; the multiple is the median over rounds of the ratio within one.
    """
    recipe = named("robust", precision=form)
    with seeded(0):
        first = models.build(name, channels=1, classes=10)
    fits = {label: (copy.deepcopy(first), aim) for label, aim in aims.items()}
    made = {label: recipe.optimiser_for(model) for label, (model, _) in fits.items()}
    seconds: dict[str, list[float]] = {label: [] for label in fits}
    for _ in range(rounds + 1):
        for label, (model, wanted) in fits.items():
            start = time.process_time()
            _step(model.train(), wanted, made[label], batch, form)
            seconds[label].append(time.process_time() - start)
    plain = seconds[LABELS][1:]
    rows = []
    for label, (_, wanted) in fits.items():
        ratios = [own / other for own, other in zip(seconds[label][1:], plain, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        rows.append(
            {
                "objective": label,
                "seconds": statistics.median(seconds[label][1:]),
                "times": statistics.median(ratios),
                "middle half": [low, high],
                "times in passes": cost(first, wanted, batch, recipe),
            }
        )
    return rows


def _step(
    model: nn.Module, wanted: Objective, optimiser: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], form: str
) -> None:
    optimiser.zero_grad(set_to_none=True)
    with precision(form, batch[0].device):
        loss = wanted.loss(model, batch, 0.99)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def trained(label: str, given: argparse.Namespace) -> Trained:
    """Returns the network of a case after the budget, from where it was killed."""
    whole = data.load("mnist")
    assert whole.train is not None
    images = replace(whole, train=whole.train.sample(given.train_images, 0))
    with seeded(0):
        model = models.build(given.model, channels=1, classes=10)
    recipe = named("robust", epochs=given.epochs, precision=given.precision)
    given.work.mkdir(parents=True, exist_ok=True)
    checkpoint = given.work / f"{label.replace(', ', '-').replace(' ', '-')}.checkpoint"
    with following(f"{label} on {given.train_images} images") as progress:
        if label == LABELS:
            made = classifier(
                model, images, name=given.model, recipe=recipe, augment=False, checkpoint=checkpoint, progress=progress
            )
        else:
            case = CASES[label]
            settings = case.settings | _stepping(case, given.eps, given.steps)
            made = robust(
                model,
                images,
                name=given.model,
                threat=Linf(given.eps),
                recipe=recipe,
                objective=case.name,
                ramp=given.ramp,
                checkpoint=checkpoint,
                progress=progress,
                **settings,
            )
    made.save(checkpoint.with_suffix(".safetensors"), checkpoint)
    return made


def withstood(made: Trained, given: argparse.Namespace) -> dict[str, Any]:
    """Returns the accuracy of a network on clean images and under each cascade, with intervals."""
    images = data.load("mnist").test.sample(given.images, 0)
    model = made.model.eval().requires_grad_(False)
    right = model(images.x).argmax(1) == images.y
    found = {"clean": int(right.sum())}
    attacks: dict[str, AttackLike] = {"apgd": apgd(Linf(given.eps)), "standard": standard(Linf(given.eps))}
    whole = right
    for name, attack in attacks.items():
        with following(name) as progress:
            held = ~attack(model, images.x, images.y, precision=given.precision, progress=progress).broken
        whole = whole & held
        found[name] = int(held.sum())
    found["worst"] = int(whole.sum())
    return {
        name: {"accuracy": count / len(images), "interval": clopper_pearson(count, len(images))}
        for name, count in found.items()
    }


def train_all(labels: list[str], given: argparse.Namespace, known: dict[str, Any], console: Console) -> None:
    """Trains and attacks what does not stand in the file yet, and writes after each."""
    budget = {
        name: getattr(given, name)
        for name in ("model", "train_images", "epochs", "eps", "ramp", "steps", "images", "precision")
    }
    rows = known.setdefault("trained", {})
    for label in labels:
        if rows.get(label, {}).get("budget") == budget:
            console.print(f"{label} stands in {given.out}")
            continue
        made = trained(label, given)
        rows[label] = {
            "budget": budget,
            "objective": made.settings["objective"],
            "cost": made.settings.get("cost", 1.0),
            "seconds": made.history[-1].seconds,
            "history": [dict(epoch.scores) for epoch in made.history],
            "warnings": made.settings.get("warnings", []),
            "withstood": withstood(made, given),
        }
        _write(given.out, known)
        said = ", ".join(f"{name} {value['accuracy']:.3f}" for name, value in rows[label]["withstood"].items())
        console.print(f"{label}: {said}")


def _write(path: Path, known: dict[str, Any]) -> None:
    put_bytes(path, f"{json.dumps({'schema': 1} | known, indent=1)}\n".encode())


def shown(rows: list[dict[str, Any]], kept: dict[str, Any]) -> Table:
    """Returns what was measured as a table."""
    table = Table("", "CPU s a step", "times plain", "middle half", "in passes", "clean", "worst", "95 %")
    for row in rows:
        low, high = row["middle half"]
        found = kept.get(row["objective"], {}).get("withstood")
        worst = found["worst"] if found else None
        table.add_row(
            row["objective"],
            f"{row['seconds']:.4f}",
            f"{row['times']:.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{row['times in passes']:g}",
            f"{found['clean']['accuracy']:.3f}" if found else "",
            f"{worst['accuracy']:.3f}" if worst else "",
            "{:.3f} to {:.3f}".format(*worst["interval"]) if worst else "",
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Measures, trains if asked, prints a table, writes JSON, and returns an exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", help=f"of {', '.join(CASES)} (all)")
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--eps", type=float, default=0.3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--train", action="store_true", help="train a network to each, and attack it")
    parser.add_argument("--train-images", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--ramp", type=float, default=0.3)
    parser.add_argument("--steps", type=int, default=10, help="of PGD and TRADES while training; 0 for the papers' 40")
    parser.add_argument("--images", type=int, default=500, help="test images that are attacked")
    parser.add_argument("--work", type=Path, default=Path("runs/robust-training"), help="weights and checkpoints")
    parser.add_argument("--out", type=Path, default=Path("results/robust-training-cpu.json"))
    given = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    torch.set_num_threads(given.threads)
    try:
        labels = given.only or list(CASES)
        for label in labels:
            if label not in CASES:
                raise unknown("case", label, CASES)
        known = json.loads(given.out.read_text()) if given.out.is_file() else {}
        images = data.load("mnist").test.sample(given.batch_size, 0)
        aims = {LABELS: Classify()} | {label: aim(CASES[label], given.eps, None, given.ramp) for label in labels}
        rows = timed(aims, given.model, (images.x, images.y), given.rounds, given.precision)
        said = f"{given.model}, batch of {given.batch_size}, Linf {given.eps:g}, {given.precision}, papers' steps"
        known |= {"machine": machine(), "cost": {"of": said, "rounds": given.rounds, "rows": rows}}
        _write(given.out, known)
        if given.train:
            train_all([LABELS, *labels], given, known, console)
        console.print(shown(rows, known.get("trained", {})))
    except InputError as error:
        console.print(f"error: {error}", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
