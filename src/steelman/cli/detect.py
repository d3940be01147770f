"""`steelman detect`: how well detectors find attacked images, of attacks that they were fitted on and others."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli import options
from steelman.cli.train import detector as fitting
from steelman.errors import InputError
from steelman.registry import takes
from steelman.spec import AttackSpec, RunSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from steelman.attacks import AttackLike
    from steelman.data import Data, Images

EXAMPLES = """examples:
  steelman detect --data mnist --fitted-on fgsm --attack fgsm pgd ddn square --eps 0.15 0.3 --out runs/detect
  steelman detect --data mnist --detector runs/detector.safetensors --attack pgd --eps 0.1 --out runs/detect"""

NOTE = (
    "Static: every attack was made on the classifier alone. Only attacked images that broke it count as positives, "
    "and only clean images that it classifies correctly as negatives."
)

MET = (
    "The purifier that some detectors compare with was trained before, on attacks of its own: for those detectors and "
    "for a combination of them an attack that the fit never saw may not be new to the purifier."
)


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = "Fit detectors on training images and one attack, and measure them on it and on others."
    command.epilog = EXAMPLES
    options.add(command, *options.DATA, *options.ATTACK, usual={"attack.names": ["pgd"], "run.out": "runs/detect"})
    fitting.add_fit(command)
    command.add_argument("--detector", nargs="+", help="by name, or files of steelman train detector (all by name)")
    options.add(command, "model.device", "run.seed", "run.out")
    command.set_defaults(run=run)


def run(spec: RunSpec, *, detector: list[str] | None, fitted_on: str, **fitted: Any) -> int:
    """Attacks, fits, measures, prints the tables and writes the run folder.

    fitted: the other options of a fit.
    """
    from steelman.cli.console import finish
    from steelman.device import device
    from steelman.evaluation.detection import detect
    from steelman.evaluation.measure import on, versions
    from steelman.files import writable
    from steelman.records import Evaluation
    from steelman.spec import build

    started = time.monotonic()
    everything, images = build.images(spec)
    where = device(spec.pipeline.device)
    listed = _attacks(spec.attacks, everything, where)
    classifier, purifier = fitting.beside(spec.pipeline, everything)
    classifier = classifier.to(where)
    bench = _Bench(everything, classifier, None if purifier is None else purifier.to(where), spec.run.seed, where)
    asked = _asked(detector, bench)
    writable(spec.run.out)
    detectors = _detectors(asked, bench, spec.run.out, fitted_on=fitted_on, **fitted)
    x, y = on(classifier, images)
    attacked = {name: _made(attack, name, spec.run.seed, classifier, (x, y), images) for name, attack in listed.items()}
    seen = tuple(name for name in listed if name.split(" ")[0] == fitted_on)
    name = spec.pipeline.model or f"{bench.data.name}/cnn"
    how: dict[str, Any] = {"fitted_on": fitted_on, "seen": seen, "dataset": everything.name, "classifier": name}
    found = detect(detectors, classifier, (x, y), attacked, seed=spec.run.seed, **how)
    finish(
        Evaluation(
            title=f"Detectors on {images.name}, fitted on {fitted_on} alone",
            rows=(),
            detections=found,
            settings={key: it for part in spec.model_dump(mode="json").values() for key, it in part.items()}
            | {"detector": asked, "fitted_on": fitted_on, **fitted}
            | {"attacks": {name: repr(attack) for name, attack in listed.items()}},
            versions=versions(),
            notes=(NOTE,) if purifier is None else (NOTE, MET),
            seconds=time.monotonic() - started,
        ),
        spec.run.out,
    )
    return 0


@dataclass(frozen=True)
class _Bench:
    """What detectors are fitted on and stand beside."""

    data: Data
    classifier: nn.Module
    purifier: nn.Module | None
    seed: int
    device: str


def _attacks(spec: AttackSpec, data: Data, device: str) -> dict[str, AttackLike]:
    """Every attack by its name and radius, each in a norm that it has."""
    from steelman import attacks
    from steelman.attacks.attack_like import on_each
    from steelman.spec import build

    found: dict[str, AttackLike] = {}
    for name in spec.names:
        entry = attacks.named(name, code=True)
        smallest = entry.finds is attacks.Finds.NEAREST
        norm = spec.norm if spec.norm in entry.norms else entry.norms[0]
        own = {"names": (name,), "norm": norm, "eps": None if smallest else spec.eps}
        for attack in build.attacks(spec.model_copy(update=own), data, device):
            eps = "" if smallest or entry.finds is attacks.Finds.OUTSIDE else f" ε {attack.threat.eps:g}"
            other = f" ({norm})" if norm != "Linf" and not smallest else ""
            # with gradients what is broken goes on to its worst, as an attacker would who does not count queries
            climbs = (attack.asks, attack.finds) == (attacks.Asks.GRADIENTS, attacks.Finds.WITHIN)
            strong = climbs and on_each(attack)
            found[f"{name}{other}{eps}"] = attack.with_goal(attacks.Worst()) if strong else attack
    return found


def _asked(given: list[str] | None, bench: _Bench) -> list[str]:
    """The detectors by name or file; all that can be fitted unless told.

    Raises InputError for another name, and where there are no images to fit one on.
    """
    from steelman.defences import detectors

    able = [name for name in detectors.catalogue.shipped if bench.purifier is not None or not _compares(name)]
    asked: list[str] = given or able
    named = [name for name in asked if not Path(name).is_file()]
    for name in named:
        if name not in detectors.catalogue and ":" not in name:
            raise InputError(f"expected a detector's name or file, got {name!r}: say one of {', '.join(able)}")
    if named and bench.data.train is None:
        raise InputError(
            f"expected training images in {bench.data.name} to fit {named[0]} on, got a test split alone: "
            "give a folder with train and test, or a file of steelman train detector"
        )
    return asked


def _detectors(asked: list[str], bench: _Bench, out: Path, **fitted: Any) -> dict[str, nn.Module]:
    from steelman.cli.console import console, following
    from steelman.defences import detectors
    from steelman.training import detector, named

    material = None
    found: dict[str, nn.Module] = {}
    for name in asked:
        if Path(name).is_file():
            found[Path(name).stem] = detectors.load(name, bench.classifier, bench.purifier).to(bench.device)
            continue
        with following(f"fitting {name}") as progress:
            material = material or fitting.prepared(bench.data, bench.classifier, bench.seed, bench.device, **fitted)
            how: dict[str, Any] = {
                "purifier": bench.purifier,
                "recipe": named("detector", seed=bench.seed),
                "progress": progress,
            }
            kind = detectors.catalogue.resolve(name, code=True)
            trained = detector(kind, bench.classifier, bench.data, material, device=bench.device, **how)
        trained.save(out / f"{name.rpartition(':')[2]}.safetensors")
        console.print(f"  on validation images: AUC {trained.settings['validation']['auc']:.4f}")
        found[name] = trained.model
    return found


def _compares(name: str) -> bool:
    """Whether a detector compares with what a purifier makes of an image."""
    from steelman.defences import detectors
    from steelman.training.detectors import MEMBERS

    names = MEMBERS if name == "combined" else (name,)
    return any("purifier" in takes(detectors.catalogue.get(each, code=True)) for each in names)


def _made(
    attack: AttackLike,
    name: str,
    seed: int,
    classifier: nn.Module,
    given: tuple[Tensor, Tensor],
    images: Images,
) -> Tensor:
    from steelman.cli.console import following

    with following(name) as progress:
        result = attack(
            classifier,
            *given,
            seed=seed,
            indices=images.indices.to(given[0].device),
            precision="auto",
            progress=progress,
        )
    return result.x
