"""What attacks cost beside the passes of the model that they cannot do without.

    python benchmarks/attacks.py --images 1000 --rounds 5

The floor of an attack of k steps is k + 1 passes forwards and k back of the bare model, on one batch of all the
images, with its parameters frozen. Every contender is measured once a round, one after the other (A B A B …), in CPU
time, which a busy neighbour disturbs less than wall time; a ratio is the median over the rounds of contender to floor.
Where it is below 1 with every step taken, caches did it: we put 128 images in the model at once, the floor all of them.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from steelman import data, models
from steelman.attacks import Attack, Last, Worst, at_input, fgsm, pgd
from steelman.errors import InputError
from steelman.files import put_bytes
from steelman.norms import Linf

STEPS, EPS = 40, 0.1
SIZE = EPS / 30


@dataclass(frozen=True)
class Outcome:
    """What a run left: the share of images that it did not break, and passes an image where they are counted."""

    robust: float
    forwards: float | None = None
    backwards: float | None = None


@dataclass(frozen=True)
class Contender:
    """An attack to time.

    steps: of the floor that it is compared with.
    """

    name: str
    steps: int
    run: Callable[[], Outcome]


def floor(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    """Does the passes that an attack of so many steps cannot do without, and nothing else."""
    for _ in range(steps):
        wanted = x.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(wanted), y, reduction="sum"), wanted)
    with torch.no_grad():
        model(x)


def ours(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> Outcome:
    """Returns the outcome of one of our attacks."""
    result = attack(model, x, y)
    return Outcome(
        round(result.accuracy, 6), float(result.forwards.double().mean()), float(result.backwards.double().mean())
    )


def theirs(attack: Callable[[], Tensor], model: nn.Module, y: Tensor) -> Outcome:
    """Returns the outcome of a peer, with the one pass more that its verdict takes."""
    adversarial = attack()
    with torch.no_grad():
        return Outcome(float((model(adversarial).argmax(1) == y).double().mean()))


def contenders(model: nn.Module, x: Tensor, y: Tensor) -> list[Contender]:
    """Returns everything to time: our attacks, and the peers that are installed."""
    from_input = pgd(Linf(EPS), steps=STEPS, size=SIZE, start=at_input)
    at_random = pgd(Linf(EPS), steps=STEPS, size=SIZE)
    attacks = {
        "PGD, every step, from the input": from_input.with_goal(Worst()),
        "PGD, every step, last candidate": from_input.with_goal(Last()),
        "PGD, every step, at random": at_random.with_goal(Worst()),
        "PGD, solved leave, from the input": from_input,
        "PGD, solved leave, at random": at_random,
        "FGSM with verdict": fgsm(Linf(EPS)).with_goal(Last()),
    }
    listed = [
        Contender(name, attack.rule.steps, partial(ours, attack, model, x, y)) for name, attack in attacks.items()
    ]
    if torchattacks := installed("torchattacks"):
        theirs_pgd = torchattacks.PGD(model, eps=EPS, alpha=SIZE, steps=STEPS, random_start=False)
        theirs_fgsm = torchattacks.FGSM(model, eps=EPS)
        listed += [
            Contender("torchattacks PGD", STEPS, partial(theirs, partial(theirs_pgd, x, y), model, y)),
            Contender("torchattacks FGSM", 1, partial(theirs, partial(theirs_fgsm, x, y), model, y)),
        ]
    if foolbox := installed("foolbox"):
        bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        step = foolbox.attacks.LinfPGD(abs_stepsize=SIZE, steps=STEPS, random_start=False)
        listed.append(Contender("foolbox PGD", STEPS, lambda: Outcome(_held(step(bounded, x, y, epsilons=EPS)))))
    return listed


def _held(answer: tuple[Tensor, Tensor, Tensor]) -> float:
    """The share that foolbox did not break; its own verdict is the last of what it returns."""
    return 1 - float(answer[2].double().mean())


def installed(name: str) -> ModuleType | None:
    """Returns a peer, or None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return __import__(name)
        except ImportError:
            return None


def cpu_seconds(work: Callable[[], object], times: int) -> float:
    """Returns the CPU time that some work takes, of all threads together, when it is done so many times."""
    start = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - start


def measure(model: nn.Module, x: Tensor, y: Tensor, rounds: int, console: Console) -> list[dict[str, object]]:
    """Returns a row for each contender: its ratios to the floor, their median, and its outcome."""
    listed = contenders(model, x, y)
    floors = {steps: partial(floor, model, x, y, steps) for steps in sorted({item.steps for item in listed})}
    ratios: dict[str, list[float]] = {item.name: [] for item in listed}
    outcomes: dict[str, Outcome] = {}

    def noted(item: Contender) -> None:
        outcomes[item.name] = item.run()

    floors[1]()
    for _ in track(range(rounds), "rounds", console=console):
        least = {steps: cpu_seconds(work, _times(steps)) for steps, work in floors.items()}
        for item in listed:
            ratios[item.name].append(cpu_seconds(partial(noted, item), _times(item.steps)) / least[item.steps])
    return [
        {"name": item.name, "ratio": statistics.median(ratios[item.name]), "ratios": ratios[item.name]}
        | {"steps": item.steps, **asdict(outcomes[item.name])}
        for item in listed
    ]


def _times(steps: int) -> int:
    """How often to repeat what takes so few steps that one run would be lost in noise."""
    return max(1, STEPS // (4 * steps))


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


def subject(untrained: bool) -> tuple[nn.Module, str]:
    """Returns the classifier, in evaluation mode with its parameters frozen, and what to call it.

    Raises InputError if its trained weights do not ship and no untrained one was asked for.
    """
    if untrained:
        torch.manual_seed(0)
        return models.build("cnn", channels=1, classes=10).requires_grad_(False), "cnn, untrained"
    if "mnist/cnn" not in models.shipped():
        raise InputError("expected the shipped weights of mnist/cnn, found none: say --untrained to time random ones")
    return models.load("mnist/cnn").requires_grad_(False), "mnist/cnn"


def shown(rows: list[dict[str, object]], title: str) -> Table:
    """Returns the rows as a table."""
    table = Table("attack", "CPU time / floor", "robust accuracy", "forwards", "backwards", title=title)
    for row in rows:
        passes = (f"{row[key]:.2f}" if row[key] is not None else "" for key in ("forwards", "backwards"))
        table.add_row(str(row["name"]), f"{row['ratio']:.3f}", f"{row['robust']:.3f}", *passes)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes JSON, and returns an exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the images drawn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--untrained", action="store_true", help="time a classifier with random weights")
    parser.add_argument("--out", type=Path, default=Path("results/attacks-cpu.json"))
    given = parser.parse_args(arguments)
    console = Console()
    torch.set_num_threads(given.threads)
    try:
        model, name = subject(given.untrained)
        images = data.load("mnist").test.sample(given.images, given.seed)
        rows = measure(model, images.x, images.y, given.rounds, console)
        said = f"--images {given.images} --rounds {given.rounds} --seed {given.seed} --threads {given.threads}"
        record = {
            "schema": 1,
            "command": f"python benchmarks/attacks.py {said}" + " --untrained" * given.untrained,
            "seed": given.seed,
            "classifier": name,
            "images": given.images,
            "attack": {"norm": "Linf", "eps": EPS, "steps": STEPS, "size": SIZE},
            "floor": f"{STEPS + 1} forwards and {STEPS} backwards (FGSM: 2 and 1) on one batch of all the images",
            "measure": "CPU time of all threads, interleaved; the median over rounds of the ratio to the floor",
            "machine": machine(),
            "rows": rows,
        }
        put_bytes(given.out, f"{json.dumps(record, indent=2)}\n".encode())
    except InputError as error:
        console.print(f"error: {error}", markup=False)
        return 2
    console.print(shown(rows, f"PGD-{STEPS} and FGSM, Linf {EPS}, {given.images} images, {name}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
