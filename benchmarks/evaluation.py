"""Whether an evaluation can be trusted itself: kills, batches, cost, brackets, memory, and the zoo of broken defences.

    python benchmarks/evaluation.py kills      kill -9 at 30 random moments, then go on: the same records?
    python benchmarks/evaluation.py batches    batches of 7, 64 and 500, and another order: the same verdicts?
    python benchmarks/evaluation.py cost       passes of the standard evaluation, and of every attack on every image
    python benchmarks/evaluation.py brackets   what is proved beside what is broken, image by image
    python benchmarks/evaluation.py memory     10,000 images beside 1,000
    python benchmarks/evaluation.py zoo        what it says of defences that are known to be broken, and of sound ones

Each adds its part to the file of --out.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from attacks import machine
from steelman import bounds, data, models
from steelman.attacks import Worst, standard
from steelman.errors import InputError
from steelman.evaluation.certificates import METHODS
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.intervals import clopper_pearson
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.evaluation.storing.runs import cases
from steelman.files import put_bytes
from steelman.norms import Linf
from steelman.records import Case, Trust

ROOT = Path(__file__).parent.parent
NEAR = 1e-5
"""In logits: samples nearer to the boundary may change their verdict with the batch, and are listed."""

ATTACKS_ALONE = EvaluationOptions(certify=False, curve=False, check=False, pictures=0)

console = Console(highlight=False, width=120)


def kills(options: argparse.Namespace) -> dict[str, Any]:
    """How many of so many runs that were killed once or more come to the records of one that was not."""
    words = [sys.executable, "-m", "steelman", "evaluate", "--data", "mnist", "--images", str(options.images or 60)]
    words += ["--eps", "0.1", "--batch", "20", "--model", "mnist/cnn", "--attack", "standard", "apgd"]
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run([*words, "--out", f"{folder}/whole"], check=True, capture_output=True)
        took = time.monotonic() - started
        whole = _timeless(cases(f"{folder}/whole"))
        equal, deaths = 0, 0
        for turn in range(options.kills):
            moment = draw.uniform(0, took)
            while not _lived([*words, "--out", f"{folder}/{turn}"], moment):
                deaths += 1
                moment = draw.uniform(0, took)
            equal += _timeless(cases(f"{folder}/{turn}")) == whole
            console.print(f"{turn + 1}: {equal} equal, {deaths} kills in all")
    return {"runs": options.kills, "equal": equal, "kills": deaths, "seconds of a whole run": round(took, 1)}


def _lived(words: list[str], moment: float) -> bool:
    """Runs a command and kills it after so many seconds; whether it had ended by then."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, error = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        raise InputError(f"expected the run to end well, got {error.decode()}")
    return True


def _timeless(found: tuple[Case, ...]) -> list[dict[str, Any]]:
    """Everything that a run found but how long it took."""
    return [{**vars(case), "breakers": [{**vars(one), "seconds": 0.0} for one in case.breakers]} for case in found]


def batches(options: argparse.Namespace) -> dict[str, Any]:
    """Which samples get another verdict in another batch or order, and how near to the boundary they are."""
    test = data.load("mnist").test.sample(options.images or 500, options.seed)
    model, eps = models.load("mnist/cnn-linf"), 0.3
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(options.seed))
    ways = {"batch 7": (test, 7), "batch 64": (test, 64), "batch 500": (test, 500), "shuffled": (test.take(order), 64)}
    found = {}
    for name, (images, batch) in ways.items():
        (case,) = evaluate(model, images, standard(Linf(eps)), replace(ATTACKS_ALONE, batch=batch)).cases
        found[name] = {sample.index: sample for sample in case.samples}
        console.print(f"{name}: {case.kept} of {case.n} survive")
    first = found["batch 64"]
    other = sorted({i for its in found.values() for i in first if its[i].kept != first[i].kept})
    return {
        "images": len(test),
        "model": "mnist/cnn-linf",
        "eps": eps,
        "survive": {name: sum(sample.kept for sample in its.values()) for name, its in found.items()},
        "other verdicts": len(other),
        "of these not within 1e-5 of the boundary": sum(
            any(abs(its[i].margin) > NEAR for its in found.values()) for i in other
        ),
        "listed": [{"index": i, "margins": {name: its[i].margin for name, its in found.items()}} for i in other],
        "other paths": sum(any(its[i].backwards != first[i].backwards for its in found.values()) for i in first),
    }


def cost(options: argparse.Namespace) -> dict[str, Any]:
    """Passes back of the standard evaluation, and of each of its attacks made on every image with every step."""
    test = data.load("mnist").test.sample(options.images or 200, options.seed)
    model, threat = models.load("mnist/cnn-linf"), Linf(0.3)
    (case,) = evaluate(model, test, standard(threat), ATTACKS_ALONE).cases
    console.print(f"the cascade: {case.kept} of {case.n} survive, {case.spent} backward passes")
    holds, spent = torch.ones(len(test), dtype=torch.bool), 0
    for part in standard(threat).attacks:
        result = part.with_goal(Worst())(model, test.x, test.y, indices=test.indices, precision="auto")
        holds &= ~result.broken
        spent += int(result.backwards.sum())
        console.print(f"{part.name} on all: {int(holds.sum())} survive so far, {spent} backward passes")
    return {
        "images": len(test),
        "model": "mnist/cnn-linf",
        "eps": 0.3,
        "survive the cascade": case.kept,
        "survive every attack on every image": int(holds.sum()),
        "backward passes of the cascade": case.spent,
        "backward passes of every attack on every image": spent,
        "by their rules": standard(threat).cost(10) * len(test),
        "share": round(case.spent / spent, 4),
    }


def brackets(options: argparse.Namespace) -> dict[str, Any]:
    """Of each image whether it is proved and whether it is broken, at eps where both happen."""
    found = {}
    for name, eps in (("mnist/lenet", 0.005), ("mnist/lenet-linf", 0.02)):
        test = data.load("mnist").test.sample(options.images or 1000, options.seed)
        model = models.load(name)
        started = time.process_time()
        proved = bounds.certify(model, test.x, test.y, Linf(eps), methods=METHODS)
        seconds = time.process_time() - started
        result = standard(Linf(eps))(model, test.x, test.y, indices=test.indices, precision="auto")
        attacked = ~result.broken
        counts = {way: sum(by == way for by in proved.by) for way in METHODS}
        found[f"{name} at {eps}"] = {
            "images": len(test),
            "proved": int(proved.holds.sum()),
            "interval": clopper_pearson(int(proved.holds.sum()), len(test)),
            "by": counts,
            "attacked": int(attacked.sum()),
            "contradictions": int((proved.holds & ~attacked).sum()),
            "CPU seconds of the proofs": round(seconds, 1),
        }
        console.print(found[f"{name} at {eps}"])
    return found


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """The most memory that an evaluation takes, each in a process of its own."""
    found = {}
    for count in (1000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, __file__, "peak", "--images", str(count), "--folder", folder]
            told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found[f"{count} images"] = json.loads(told.strip().splitlines()[-1])
        console.print(f"{count} images: {found[f'{count} images']}")
    first, last = (one["peak MB"] for one in found.values())
    return found | {"ratio": round(last / first, 3)}


def peak(options: argparse.Namespace) -> dict[str, Any]:
    """One evaluation in a folder, its attacks alone, and the most memory that this process took."""
    test = data.load("mnist").test
    test = test if options.images >= len(test) else test.sample(options.images, options.seed)
    how = EvaluationOptions(certify=False, curve=False, check=False)
    evaluation = evaluate(models.load("mnist/cnn"), test, standard(Linf(0.1)), how, folder=options.folder)
    evaluation.write(options.folder)
    found = {
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "survive": evaluation.cases[0].kept,
    }
    print(json.dumps(found))
    return found


def zoo(options: argparse.Namespace) -> dict[str, Any]:
    """The verdict on each specimen, beside its naive figure and the truth."""
    return dict(_specimens(options))


def _specimens(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    sys.path.insert(0, str(ROOT))
    from tests.zoo import zoo as specimens

    count = options.images or 100
    for name, one in specimens.items():
        if options.only and name not in options.only:
            continue
        test = data.load("mnist").test.sample(count, options.seed)
        started = time.process_time()
        pipeline, bare = one.build(), one.undefended() if one.undefended else None
        (case,) = evaluate(Defended(pipeline, bare), test, standard(Linf(one.eps)), EvaluationOptions(pictures=0)).cases
        figure = case.kept / case.n
        line = {
            "eps": one.eps,
            "naive": one.naive,
            "truth": one.truth,
            "figure": figure,
            "n": case.n,
            "verdict": case.verdict.sentence,
            "sound": one.sound,
            "right": (case.verdict.word is Trust.TRUSTED)
            if one.sound
            else case.verdict.word is Trust.INFLATED or figure <= one.truth + 0.05,
            "failed": [check.name for check in case.checks if check.outcome == "fail"],
            "CPU seconds": round(time.process_time() - started, 1),
        }
        console.print(name, line)
        yield name, line


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "kills": kills,
    "batches": batches,
    "cost": cost,
    "brackets": brackets,
    "memory": memory,
    "peak": peak,
    "zoo": zoo,
}


def main() -> int:
    """Measures one part and adds it to the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--images", type=int, default=0, help="how many; each part's own number unless told")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--only", nargs="+", help="specimens of the zoo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "evaluation-cpu.json")
    options = parser.parse_args()
    found = PARTS[options.part](options)
    if options.part == "peak":
        return 0
    known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    before = known.get(options.part, {}).get("found", {}) if options.part == "zoo" else {}
    known[options.part] = {
        "command": f"python benchmarks/evaluation.py {options.part}",
        "seed": options.seed,
        "machine": machine(),
        "commit": _commit(),
        "found": before | found,
    }
    put_bytes(options.out, (json.dumps(known, indent=1) + "\n").encode())
    console.print(f"wrote {options.out}")
    return 0


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
