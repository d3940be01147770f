"""`steelman detect`: how well detectors find attacked images, of attacks that they were fitted on and others."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.cli import bring
from steelman.cli.train import detector as fitting
from steelman.errors import InputError
from steelman.registry import takes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from steelman.attacks import AttackLike
    from steelman.data import Data, Images

EXAMPLES = """examples:
  steelman detect --data mnist --fitted-on fgsm --attack fgsm pgd ddn square --eps 0.15 0.3 --out runs/detect
  steelman detect --data mnist --detector runs/detector.safetensors --attack pgd --eps 0.1 --out runs/detect"""

NOTE = (
    "Static: every attack was made on the classifier alone. Only attacked images that broke it count as positives, "
    "and only clean images that it reads right as negatives."
)

MET = (
    "The purifier that some detectors compare with was trained before, on attacks of its own: for those detectors and "
    "for a combination of them an attack that the fit never saw may not be new to the purifier."
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "detect",
        help="measure detectors of attacked images",
        description="Fit detectors on training images and one attack, and measure them on it and on others.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bring.add_images(command)
    bring.add_attacks(command)
    fitting.add_fit(command)
    command.add_argument("--detector", nargs="+", help="by name, or files of steelman train detector (all by name)")
    command.add_argument("--device", default="auto", help="cpu, cuda or auto (auto)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, default=Path("runs/detect"), help="the run folder (runs/detect)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Attacks, fits, measures, prints the tables and writes the run folder."""
    from steelman import data
    from steelman.cli.console import device, finish, writable
    from steelman.evaluation.detection import detect
    from steelman.evaluation.measure import on, versions
    from steelman.records import Evaluation

    started = time.monotonic()
    everything, images = data.load(options.data), bring.images(options)
    listed = _attacks(options, images)
    where = device(options.device)
    classifier, purifier = fitting.beside(options, images)
    classifier = classifier.to(where)
    asked = _asked(options, everything, purifier)
    writable(options.out)
    detectors = _detectors(asked, options, everything, classifier, purifier, where)
    x, y = on(classifier, images)
    attacked = {name: _made(attack, name, options, classifier, x, y, images) for name, attack in listed.items()}
    seen = tuple(name for name in listed if name.split(" ")[0] == options.fitted_on)
    name = options.classifier or f"{everything.id}/cnn"
    how = {"fitted_on": options.fitted_on, "seen": seen, "dataset": everything.name, "name": name}
    found = detect(detectors, classifier, (x, y), attacked, seed=options.seed, **how)
    said = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    finish(
        Evaluation(
            title=f"Detectors on {images.name}, fitted on {options.fitted_on} alone",
            rows=(),
            detections=found,
            settings={key: value for key, value in said.items() if not callable(value)}
            | {"attacks": {name: repr(attack) for name, attack in listed.items()}},
            versions=versions(),
            notes=(NOTE,) if purifier is None else (NOTE, MET),
            seconds=time.monotonic() - started,
        ),
        options.out,
    )
    return 0


def _attacks(options: argparse.Namespace, images: Images) -> dict[str, AttackLike]:
    """Every attack by its name and radius, each in a norm that it has."""
    from steelman import attacks
    from steelman.attacks.attack_like import on_each

    found: dict[str, AttackLike] = {}
    for name in options.attack:
        entry = attacks.named(name)
        smallest = entry.finds is attacks.Finds.NEAREST
        norm = options.norm if options.norm in entry.norms else entry.norms[0]
        # among several, a setting that one does not have is for the others
        listed = [name] * min(2, len(options.attack))
        own = argparse.Namespace(**vars(options) | {"attack": listed, "norm": norm})
        own.eps = None if smallest else options.eps
        made = bring.attacks(own, images)
        for attack in made[: len(made) // len(listed)]:
            eps = "" if smallest or entry.finds is attacks.Finds.OUTSIDE else f" ε {attack.threat.eps:g}"
            other = f" ({norm})" if norm != "Linf" and not smallest else ""
            # with gradients what is broken goes on to its worst, as an attacker would who does not count queries
            climbs = (attack.asks, attack.finds) == (attacks.Asks.GRADIENTS, attacks.Finds.WITHIN)
            strong = climbs and on_each(attack)
            found[f"{name}{other}{eps}"] = attack.with_goal(attacks.Worst()) if strong else attack
    return found


def _asked(options: argparse.Namespace, everything: Data, purifier: nn.Module | None) -> list[str]:
    """The detectors by name or file; all that can be fitted unless told.

    Raises InputError for another name, and where there are no images to fit one on.
    """
    from steelman.defences import detectors

    able = [name for name in detectors.catalogue.shipped if purifier is not None or not _compares(name)]
    asked: list[str] = options.detector or able
    named = [name for name in asked if not Path(name).is_file()]
    for name in named:
        if name not in detectors.catalogue and ":" not in name:
            raise InputError(f"expected a detector's name or file, got {name!r}: say one of {', '.join(able)}")
    if named and everything.train is None:
        raise InputError(
            f"expected training images in {everything.name} to fit {named[0]} on, got a test split alone: "
            "give a folder with train and test, or a file of steelman train detector"
        )
    return asked


def _detectors(
    asked: list[str],
    options: argparse.Namespace,
    everything: Data,
    classifier: nn.Module,
    purifier: nn.Module | None,
    where: str,
) -> dict[str, nn.Module]:
    from steelman.cli.console import console
    from steelman.cli.console import fitting as shown
    from steelman.defences import detectors
    from steelman.training import detector, named

    purifier = None if purifier is None else purifier.to(where)
    material = None
    found: dict[str, nn.Module] = {}
    for name in asked:
        if Path(name).is_file():
            found[Path(name).stem] = detectors.load(name, classifier, purifier).to(where)
            continue
        with shown(f"fitting {name}") as observe:
            material = material or fitting.prepared(options, everything, classifier, options.seed, where)
            how: dict[str, Any] = {
                "purifier": purifier,
                "recipe": named("detector", seed=options.seed),
                "observe": observe,
            }
            kind = detectors.catalogue.resolve(name, code=True)
            trained = detector(kind, classifier, everything, material, device=where, **how)
        trained.save(options.out / f"{name.rpartition(':')[2]}.safetensors")
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
    options: argparse.Namespace,
    classifier: nn.Module,
    x: Tensor,
    y: Tensor,
    images: Images,
) -> Tensor:
    from steelman.cli.console import attacking

    with attacking(name) as observe:
        result = attack(
            classifier, x, y, seed=options.seed, indices=images.indices.to(x.device), precision="auto", observe=observe
        )
    return result.x
