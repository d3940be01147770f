"""AutoAttack, its peer and our own cascade on robust classifiers: who breaks more, and for what.

    python benchmarks/cascades.py --models mnist/lenet-linf --images 300

Every classifier is one that ships, attacked at the radius that it was trained for. Passes are forwards and backwards of
the model, an image; verdicts are compared image by image.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import peers
from attacks import machine
from steelman import data, models
from steelman.attacks import Cascade, autoattack, standard
from steelman.errors import InputError
from steelman.evaluation.intervals import clopper_pearson
from steelman.files import put_bytes
from steelman.norms import L2, Linf
from steelman.threat import Threat
from steelman.victim import Victim

THREATS = {
    "mnist/lenet-linf": Threat(Linf(0.3)),
    "mnist/lenet-l2": Threat(L2(2.0)),
    "fashion-mnist/lenet-linf": Threat(Linf(0.1)),
}


@dataclass(frozen=True)
class Found:
    """What a cascade found. agree: the share of images on which its verdict is that of our `autoattack`."""

    name: str
    robust: float
    interval: tuple[float, float]
    seconds: float
    forwards: float | None
    backwards: float | None
    agree: float
    by: dict[str, int]


class Counted(nn.Module):
    """A model that counts the images that go forwards through it, and those whose gradient comes back."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.forwards = self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        if x.requires_grad:
            x = x * 1
            x.register_hook(self._back)  # type: ignore[no-untyped-call]
        logits: Tensor = self.inner(x)
        return logits

    def _back(self, grad: Tensor) -> None:
        self.backwards += len(grad)


def compare(
    name: str, count: int, seed: int, precision: str, alone: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Returns the record of one classifier: what each cascade left whole of it, and what it cost."""
    threat, model = THREATS[name], models.load(name).requires_grad_(False)
    images = data.load(name.partition("/")[0]).test.sample(count, seed)
    x, y = images.x, images.y
    found, verdicts = [], {}
    work: dict[str, Callable[[nn.Module], tuple[Tensor, dict[str, int]]]] = {
        "steelman autoattack": lambda counted: _ours(autoattack(threat), counted, x, y, "fp32"),
        "steelman standard": lambda counted: _ours(standard(threat), counted, x, y, precision),
    }
    adapters = peers.adapters().get(f"autoattack-{threat.ball.name.lower()}", {})
    if "pyautoattack" in adapters and not alone:
        settings = peers.settings(f"autoattack-{threat.ball.name.lower()}", eps=threat.eps)
        work["pyautoattack"] = lambda counted: (
            _judged(adapters["pyautoattack"](counted, x, y, settings), model, x, y, threat),
            {},
        )
    for label, run in work.items():
        say(f"{name}: {label}")
        counted = Counted(model).eval()
        start = time.process_time()
        broken, by = run(counted)
        seconds = time.process_time() - start
        verdicts[label] = broken
        held = len(x) - int(broken.sum())
        agree = float((broken == verdicts["steelman autoattack"]).double().mean())
        cost = counted.forwards / len(x), counted.backwards / len(x)
        found.append(Found(label, held / len(x), clopper_pearson(held, len(x)), seconds, *cost, agree, by))
    return {
        "classifier": name,
        "threat": repr(threat),
        "images": len(x),
        "seed": seed,
        "precision of standard": precision,
        "rows": [asdict(row) for row in found],
    }


def _ours(attack: Cascade, model: nn.Module, x: Tensor, y: Tensor, precision: str) -> tuple[Tensor, dict[str, int]]:
    result = attack(model, x, y, precision=precision)
    return result.broken, {
        f"{at + 1} {part.name}": int((result.by == at).sum()) for at, part in enumerate(attack.attacks)
    }


def _judged(found: Tensor, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    with Victim(model) as victim:
        return (victim.margin(victim.logits(found, y), y) > 0) & threat.holds(found, around=x, slack=1e-5)


def shown(record: dict[str, Any]) -> Table:
    """Returns the record of a classifier as a table."""
    table = Table(
        "",
        "robust",
        "95 %",
        "forwards",
        "backwards",
        "CPU s",
        "agrees with autoattack",
        title=f"{record['classifier']}, {record['threat']}, {record['images']} images",
    )
    for row in record["rows"]:
        low, high = row["interval"]
        table.add_row(
            row["name"],
            f"{row['robust']:.4f}",
            f"{low:.3f} to {high:.3f}",
            f"{row['forwards']:.0f}",
            f"{row['backwards']:.0f}",
            f"{row['seconds']:.1f}",
            f"{row['agree']:.3f}",
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table for each classifier, writes JSON, and returns an exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--models", nargs="+", default=list(THREATS), choices=list(THREATS))
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the images drawn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="fp32", help="of standard; autoattack is in fp32 (fp32)")
    parser.add_argument("--alone", action="store_true", help="leave the peer out")
    parser.add_argument("--out", type=Path, default=Path("results/cascades-cpu.json"))
    given = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    torch.set_num_threads(given.threads)
    try:
        for name in given.models:
            record = compare(name, given.images, given.seed, given.precision, given.alone, console.log)
            said = f"--models {name} --images {given.images} --seed {given.seed} --threads {given.threads}"
            said += f" --precision {given.precision}" + " --alone" * given.alone
            record |= {
                "command": f"python benchmarks/cascades.py {said} --precision {given.precision}"
                + " --alone" * given.alone,
                "peers": peers.versions(),
                "machine": machine(),
            }
            console.print(shown(record))
            known = json.loads(given.out.read_text()) if given.out.is_file() else {}
            whole = {"schema": 1, "classifiers": {**known.get("classifiers", {}), name: record}}
            put_bytes(given.out, f"{json.dumps(whole, indent=1)}\n".encode())
    except InputError as error:
        console.print(f"error: {error}", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
