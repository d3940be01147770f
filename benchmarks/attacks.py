"""What attacks cost and find, beside other libraries and beside the passes of the model that they cannot do without.

    python benchmarks/attacks.py --cases pgd apgd ddn --rounds 3

The floor of a case is so many passes forwards and back of the bare model, with its parameters frozen, on one batch of
all the images; the best floor is the same in batches of the size that is fastest. Every contender is measured once a
round, one after the other (A B A B …), in CPU time, which a busy neighbour disturbs less than wall time; a ratio is the
median over the rounds of contender to floor. What each found is judged here, by the same code for all: broken is what
the model misclassifies inside the ball and the box, and unsolved counts as an infinite distance.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

import peers
from cases import CASES, Case
from steelman import data, models
from steelman.attacks import Attack, Cascade
from steelman.errors import InputError
from steelman.files import put_bytes
from steelman.victim import Victim

PATIENCE = 40.0
"""CPU seconds after which a contender is not run again in the rounds that follow."""


@dataclass(frozen=True)
class Outcome:
    """What a run left: images not broken, the median distance of all, and passes an image where they are counted."""

    robust: float
    median: float
    forwards: float | None = None
    backwards: float | None = None


@dataclass(frozen=True)
class Images:
    """What a case is run on."""

    x: Tensor
    y: Tensor


def passes(model: nn.Module, images: Images, case: Case, batch: int | None = None) -> None:
    """Does the passes of a case's floor and nothing else, in batches of a size, or all images at once."""
    for x, y in zip(images.x.split(batch or len(images.x)), images.y.split(batch or len(images.x)), strict=True):
        for _ in range(case.backwards):
            wanted = x.detach().requires_grad_()
            torch.autograd.grad(F.cross_entropy(model(wanted), y, reduction="sum"), wanted)
        with torch.no_grad():
            for _ in range(case.forwards - case.backwards):
                model(x)


def ours(attack: Attack | Cascade, precision: str, model: nn.Module, images: Images) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (x', forwards, backwards) of one of our attacks; "auto, folded" also folds the model's batch norm."""
    number, _, how = precision.partition(", ")
    result = attack(models.folded(model) if how == "folded" else model, images.x, images.y, precision=number)
    return result.x, result.forwards, result.backwards


def theirs(adapter: peers.Adapter, settings: peers.Settings, model: nn.Module, images: Images) -> tuple[Tensor]:
    """Returns (x',) of a peer, after the one pass more that its user's verdict takes."""
    x = adapter(model, images.x, images.y, settings)
    with torch.no_grad():
        model(x)
    return (x,)


def judged(case: Case, model: nn.Module, images: Images, found: Sequence[Tensor]) -> Outcome:
    """Returns what a contender's images are worth."""
    x = found[0].to(images.x)
    inside = case.threat.holds(x, around=images.x, slack=1e-5)
    with Victim(model) as victim:
        logits = torch.cat([victim.logits(a, b) for a, b in zip(x.split(500), images.y.split(500), strict=True)])
        broken = (victim.margin(logits, images.y) > 0) & inside
    far = torch.where(broken, case.threat.distance(x, around=images.x), torch.inf)
    cost = (float(count.double().mean()) for count in found[1:])
    return Outcome(1 - float(broken.double().mean()), float(far.median()), *cost)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Returns the CPU time that some work takes, of all threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(case: Case, model: nn.Module, images: Images, rounds: int, say: Callable[[str], None]) -> dict[str, object]:
    """Returns the record of a case: a row for each contender, with its ratios to the floor and what it found."""
    work: dict[str, Callable[[], Sequence[Tensor]]] = {
        f"steelman {name}": partial(ours, attack, precision, model, images)
        for name, (attack, precision) in case.ours.items()
    }
    for library, adapter in peers.adapters().get(case.peers, {}).items():
        if library not in case.without:
            work[library] = partial(theirs, adapter, case.settings, model, images)
    times: dict[str, list[float]] = {name: [] for name in work}
    ratios: dict[str, list[float]] = {name: [] for name in work}
    outcomes: dict[str, Outcome] = {}
    size = _fastest(case, model, images)
    floors: list[float] = []
    shares: list[float] = []
    for turn in range(rounds):
        floor = min(cpu_seconds(partial(passes, model, images, case)) for _ in range(case.repeats))
        best = min(cpu_seconds(partial(passes, model, images, case, size)) for _ in range(case.repeats))
        floors.append(floor)
        shares.append(best / floor)
        for name, run in work.items():
            if times[name] and max(times[name]) > PATIENCE:
                continue
            say(f"{case.name}, round {turn + 1} of {rounds}: {name}")
            try:
                spent, found = _least(run, case.repeats)
            except Exception as error:
                say(f"{name}: {type(error).__name__}: {error}")
                times[name].append(float("nan"))
                continue
            times[name].append(spent)
            ratios[name].append(spent / floor)
            outcomes[name] = judged(case, model, images, found)
    rows = [
        {"name": name, "ratio": statistics.median(ratios[name])}
        | {"ratio to best": statistics.median(ratios[name]) / statistics.median(shares), "ratios": ratios[name]}
        | {"seconds": statistics.median(times[name]), **asdict(outcomes[name])}
        for name in work
        if name in outcomes
    ]
    return {
        "case": case.name,
        "images": len(images.x),
        "threat": repr(case.threat),
        "floor": {"forwards": case.forwards, "backwards": case.backwards, "seconds": statistics.median(floors)},
        "best batch": size,
        "settings": asdict(case.settings),
        "attacks": {name: repr(attack) for name, (attack, _) in case.ours.items()},
        "rows": rows,
    }


def _least(run: Callable[[], Sequence[Tensor]], times: int) -> tuple[float, Sequence[Tensor]]:
    """The least CPU time of so many runs, and what the last one found."""
    spent = float("inf")
    for _ in range(times):
        start = time.process_time()
        found = run()
        spent = min(spent, time.process_time() - start)
    return spent, found


def _fastest(case: Case, model: nn.Module, images: Images) -> int:
    """The batch size at which one pass forwards and back of the images takes the least time."""
    short = Case(name="", threat=case.threat, forwards=2, backwards=min(1, case.backwards), images=0, ours={})
    sizes = [size for size in (32, 64, 128, 256) if size <= len(images.x)] or [len(images.x)]
    return min(sizes, key=lambda size: min(cpu_seconds(partial(passes, model, images, short, size)) for _ in range(3)))


def machine() -> dict[str, object]:
    """Returns the kind of machine that this is."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def subject(name: str, weights: Path | None) -> tuple[nn.Module, data.Images]:
    """Returns a classifier, frozen and in evaluation mode, and the test images that it reads."""
    model = models.build(name, channels=1, classes=10, weights_file=weights).requires_grad_(False)
    test = data.load(name.partition("/")[0] if "/" in name else "mnist").test
    return models.Resized(model, 32).eval() if name in models.SIDE_32 else model, test


def shown(record: dict[str, object], model: str) -> Table:
    """Returns the record of a case as a table."""
    floor = record["floor"]
    assert isinstance(floor, dict)
    title = f"{record['case']}: {record['images']} images, {model}, {record['threat']}\n"
    title += f"floor {floor['forwards']} forwards, {floor['backwards']} backwards: {floor['seconds']:.2f} s"
    table = Table("", "CPU s", "to floor", "to best floor", "robust", "median", "forwards", "backwards", title=title)
    rows = record["rows"]
    assert isinstance(rows, list)
    for row in rows:
        counts = (f"{row[key]:.1f}" if row[key] is not None else "" for key in ("forwards", "backwards"))
        table.add_row(
            row["name"],
            f"{row['seconds']:.2f}",
            f"{row['ratio']:.3f}",
            f"{row['ratio to best']:.3f}",
            f"{row['robust']:.3f}",
            f"{row['median']:.4g}",
            *counts,
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table for each case, writes JSON, and returns an exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--model", default="mnist/lenet", help="a shipped classifier, or vgg16 (mnist/lenet)")
    parser.add_argument("--weights", type=Path, help="safetensors for a classifier that does not ship")
    parser.add_argument("--images", type=int, help="instead of each case's own number")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the images drawn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/attacks-cpu.json"))
    given = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    torch.set_num_threads(given.threads)
    try:
        unknown = sorted(set(given.cases) - set(CASES))
        if unknown:
            raise InputError(f"expected cases of {', '.join(CASES)}, got {', '.join(unknown)}")
        model, test = subject(given.model, given.weights)
        record = json.loads(given.out.read_text()) if given.out.is_file() else {}
        for name in given.cases:
            said = f"--cases {name} --model {given.model}" + f" --weights {given.weights}" * bool(given.weights)
            said += f" --rounds {given.rounds} --seed {given.seed} --threads {given.threads}"
            case = CASES[name]
            images = test.sample(given.images or case.images, given.seed)
            found = measure(case, model, Images(images.x, images.y), given.rounds, console.log)
            found |= {
                "command": f"python benchmarks/attacks.py {said} --images {len(images)}",
                "classifier": given.model,
                "peers": peers.versions(),
                "machine": machine(),
            }
            console.print(shown(found, given.model))
            record = {"schema": 2, "cases": {**record.get("cases", {}), name: found}}
            put_bytes(given.out, f"{json.dumps(record, indent=1)}\n".encode())
    except InputError as error:
        console.print(f"error: {error}", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
