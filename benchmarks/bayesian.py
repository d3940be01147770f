"""Three ways to be unsure of a reconstruction, side by side, and the chosen one beside the plain auto-encoder.

    python benchmarks/bayesian.py choices        MC dropout, a deep ensemble, last-layer Laplace: small, trained here
    python benchmarks/bayesian.py chosen         the trained one: accuracy, separation, latency

The three of `choices` have as many parameters, see the same attacked images in the same steps, and each gives for every
pixel a mean, a variance that it tells (noise) and a variance of its mean (disagreement). Attacks see the classifier
alone (static) unless said.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from attacks import machine
from steelman import data, defences, models, training, weights
from steelman.attacks import Last, Worst, at_input, ddn, fgsm, pgd
from steelman.defences import BayesianAutoencoder, guard
from steelman.errors import InputError
from steelman.evaluation.intervals import clopper_pearson
from steelman.evaluation.measure import latency, right
from steelman.files import put_bytes
from steelman.norms import L2, Linf
from steelman.studies.protocols import STATIC
from steelman.training.objectives import Purify
from steelman.training.objectives.bayesian import PurifyMembers, separation

DATASETS = ("mnist", "fashion-mnist")
ROWS = (("fgsm", 0.6), ("pgd", 0.15))
"""Of the paper's table 2."""

DRAWS, DROPPED = 8, 0.2
"""Of MC dropout: passes for an answer, and the share of a code's channels that each leaves out."""

Unsure = tuple[Tensor, Tensor, Tensor]
"""Mean reconstruction (N, C, H, W), and the mean over pixels of noise and of disagreement, both variances, (N,)."""


class Ensemble(nn.Module):
    """A Bayesian auto-encoder's mean, noise and disagreement."""

    def __init__(self, net: BayesianAutoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Unsure:
        return _parted(*self.net.answers(x))


class MonteCarloDropout(nn.Module):
    """One network asked DRAWS times, each time without other channels of its codes (Gal & Ghahramani 2016)."""

    def __init__(self, net: BayesianAutoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Unsure:
        means, deviations = self.net.answers(x.repeat_interleave(DRAWS, 0))
        return _parted(means.reshape(len(x), DRAWS, *x.shape[1:]), deviations.reshape(len(x), DRAWS, *x.shape[1:]))


def drop(net: BayesianAutoencoder) -> None:
    """Lets the codes of a network lose channels at every pass, in training and in use."""
    for layer in (net.down, *net.coarse):
        layer.register_forward_hook(lambda _, __, out: F.dropout2d(out, DROPPED, True))


class LastLayerLaplace(nn.Module):
    """One network whose last layer has a normal posterior: the mode it was fitted to, and the curvature there.

    The generalised Gauss-Newton matrix of the normal likelihood that the network tells, and a standard normal prior
    (Daxberger et al. 2021, section 2 and appendix B). A pixel depends on two rows of weights, so the matrix falls into
    one block for each of the four pixels of a fold, and these are exact. One channel alone.
    """

    def __init__(self, net: BayesianAutoencoder) -> None:
        super().__init__()
        self.net = net
        size = 2 * (9 * net.merge.out_channels + 1)
        self.covariance = torch.zeros(4, size, size)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Sets the posterior to the one that images (N, 1, H, W) leave."""
        precision = torch.eye(self.covariance.shape[1], dtype=torch.float64).repeat(4, 1, 1)
        for part in x.split(50):
            _, deviations, slopes = self._linearised(part)
            scaled = slopes / _folded(deviations)[..., None]
            flat = scaled.transpose(0, 1).flatten(1, 2)
            precision += (flat.transpose(1, 2) @ flat).double()
        self.covariance = torch.linalg.inv(precision).float()

    def forward(self, x: Tensor) -> Unsure:
        mean, deviations, slopes = self._linearised(x)
        variance = ((slopes @ self.covariance) * slopes).sum(-1)
        return mean, deviations.square().flatten(1).mean(1), variance.flatten(1).mean(1)

    def _linearised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, deviation, and each pixel's slope in its weights, (N, 4, places, weights)."""
        kept: dict[str, Tensor] = {}
        hook = self.net.leave.register_forward_hook(lambda _, given, out: kept.update(given=given[0], out=out))
        try:
            means, deviations = self.net.answers(x)
        finally:
            hook.remove()
        patches = F.unfold(kept["given"], 3, padding=1).transpose(1, 2)
        patches = torch.cat([patches, torch.ones_like(patches[..., :1])], 2)[:, None]
        painted, share, _ = kept["out"].sigmoid().unflatten(1, (3, 4)).flatten(3).unbind(1)
        by_painted, by_share = (1 - share) * painted * (1 - painted), (_folded(x) - painted) * share * (1 - share)
        slopes = torch.cat([by_painted[..., None] * patches, by_share[..., None] * patches], -1)
        return means[:, 0], deviations[:, 0], slopes


WAYS: dict[str, Callable[[BayesianAutoencoder], nn.Module]] = {
    "deep ensemble": Ensemble,
    "MC dropout": MonteCarloDropout,
    "last-layer Laplace": LastLayerLaplace,
}

SIZES = {label: {"members": 1, "width": 32, "code": 64} for label in WAYS} | {"deep ensemble": {"members": 4}}
"""One network as large as the four small ones together."""


def _folded(x: Tensor) -> Tensor:
    """(N, 1, H, W) to (N, 4, places)."""
    return F.pixel_unshuffle(x, 2).flatten(2)


def _parted(means: Tensor, deviations: Tensor) -> Unsure:
    told, disagreement = deviations.square().mean(1), means.var(1, correction=0)
    return means.mean(1), told.flatten(1).mean(1), disagreement.flatten(1).mean(1)


@dataclass(frozen=True)
class Test:
    """What judges: a classifier, labels, and the images by name, "clean" among them."""

    classifier: nn.Module
    y: Tensor
    images: dict[str, Tensor]


def tested(name: str, count: int, seed: int) -> Test:
    """Returns the test images of a data set, clean and as table 2 attacks them."""
    classifier = models.folded(models.load(f"{name}/cnn")).requires_grad_(False)
    drawn = data.load(name).test.sample(count, seed)
    images = {"clean": drawn.x}
    for attack, eps in ROWS:
        images[f"{attack} {eps:g}"] = STATIC.run(STATIC.attack(attack, eps), classifier, drawn.x, drawn.y, seed=seed).x
    return Test(classifier, drawn.y, images)


@torch.no_grad()
def judged(method: nn.Module, test: Test, seed: int) -> dict[str, Any]:
    """Returns accuracies, and the AUC of noise, of disagreement and of both against clean images."""
    with training.seeded(seed):
        answers = {
            name: [torch.cat(parts) for parts in zip(*(method(part) for part in x.split(50)), strict=True)]
            for name, x in test.images.items()
        }
    accuracy = {name: right(test.classifier, found[0].clamp(0, 1), test.y) for name, found in answers.items()}
    _, *clean = answers["clean"]
    return {
        "accuracy": {name: _share(correct) for name, correct in accuracy.items()},
        "deviation": {name: float((found[1] + found[2]).sqrt().mean()) for name, found in answers.items()},
        "AUC": {
            name: {
                "noise": separation(clean[0], noise),
                "disagreement": separation(clean[1], apart),
                "both": separation(clean[0] + clean[1], noise + apart),
            }
            for name, (_, noise, apart) in answers.items()
            if name != "clean"
        },
    }


def choices(given: argparse.Namespace, name: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Returns the record of the three on one data set."""
    test = tested(name, given.images, given.seed)
    whole = data.load(name)
    assert whole.train is not None
    kept, held = whole.train.sample(given.train, given.seed).split(1 / 12, given.seed)
    purify = Purify(
        fidelity=40.0,
        classifier=test.classifier,
        attacks=(
            (fgsm(Linf(0.0)).with_goal(Last()), 1.2),
            (pgd(Linf(0.0), steps=5, start=at_input).with_goal(Last()), 0.35),
        ),
        val=tuple(STATIC.attack(attack, eps).with_goal(Worst()) for attack, eps in ROWS),
    )
    found: dict[str, Any] = {}
    for seed in range(given.seed, given.seed + given.seeds):
        recipe = training.named("bayesian-autoencoder", epochs=given.epochs, average=0.97, seed=seed)
        methods: dict[str, nn.Module] = {}
        for label, sizes in SIZES.items():
            say(f"{name}: {label}, seed {seed}")
            with training.seeded(seed):
                net = BayesianAutoencoder(**sizes)
            if label == "MC dropout":
                drop(net)
            training.fit(net, PurifyMembers(purify=purify), kept, held, recipe)
            methods[label] = WAYS[label](net).eval()
            if isinstance(laplace := methods[label], LastLayerLaplace):
                with training.seeded(seed):
                    laplace.fit(purify.attacked(kept.x, kept.y))
            record = judged(methods[label], test, seed)
            record["parameters"] = sum(p.numel() for p in net.parameters())
            found.setdefault(label, {})[f"seed {seed}"] = record
        for label, spent in clocked(methods, test.images["clean"][:1], given).items():
            found[label][f"seed {seed}"]["latency ms"] = spent
    return {"train images": len(kept), "epochs": given.epochs, "n": len(test.y), "methods": found}


def chosen(given: argparse.Namespace, name: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Returns the record of the trained one beside the plain auto-encoder and the U-shaped purifier."""
    test = tested(name, given.images, given.seed)
    net = defences.load(str(given.weights).format(data=name))
    if not isinstance(net, BayesianAutoencoder):
        raise InputError(f"expected a Bayesian auto-encoder, got {type(net).__name__}: say --weights")
    say(f"{name}: what it never learnt from")
    x, y = test.images["clean"][: given.few], test.y[: given.few]
    noisy = (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(given.seed))).clamp(0, 1)
    more = {
        "clean": x,
        "fgsm 0.05": STATIC.run(STATIC.attack("fgsm", 0.05), test.classifier, x, y, seed=given.seed).x,
        "pgd 0.05": STATIC.run(STATIC.attack("pgd", 0.05), test.classifier, x, y, seed=given.seed).x,
        "ddn, smallest L2": ddn(L2(10.0), steps=40)(test.classifier, x, y, seed=given.seed).x,
        "Gaussian noise 0.1, no attack": noisy,
    }
    say(f"{name}: an attacker who knows it")
    known = pgd(Linf(0.15), steps=40, size=0.01).with_goal(Last())(
        guard(net, test.classifier), x, y, seed=given.seed, precision="auto"
    )
    more["pgd 0.15, adaptive"] = known.x
    record = {"n": len(test.y), "bayesian": judged(Ensemble(net), test, given.seed)}
    record["beyond table 2"] = {"n": len(y)} | judged(Ensemble(net), Test(test.classifier, y, more), given.seed)
    record["bayesian"]["SHA-256"] = weights.digest(net)
    record["bayesian"]["parameters"] = sum(p.numel() for p in net.parameters())
    plain = {attack: models.Resized(defences.load(f"{name}/conv-autoencoder-{attack}"), 32) for attack, _ in ROWS}
    others: dict[str, nn.Module] = {f"plain, {attack}": module for attack, module in plain.items()}
    others["unet"] = defences.load(f"{name}/unet")
    for label, module in others.items():
        pipeline = guard(module, test.classifier)
        record[label] = {
            at: _share(right(pipeline, images, test.y, seed=given.seed)) for at, images in test.images.items()
        }
    say(f"{name}: latency")
    timed = {"bayesian, both": _Both(net), "bayesian, image alone": net, "plain": plain["fgsm"], "unet": others["unet"]}
    spent = clocked(timed, x[:1], given)
    record["latency ms"] = spent
    record["times the plain one's"] = {label: each / spent["plain"] for label, each in spent.items()}
    return record


def clocked(modules: dict[str, nn.Module], x: Tensor, given: argparse.Namespace) -> dict[str, float]:
    """Returns milliseconds for one image, the median over rounds in which all take turns."""
    before = torch.get_num_threads()
    torch.set_num_threads(given.threads)
    found = [{label: latency(module, x) for label, module in modules.items()} for _ in range(given.rounds)]
    torch.set_num_threads(before)
    return {label: statistics.median(each[label] for each in found) for label in modules}


class _Both(nn.Module):
    """Image and uncertainty of one pass, for the clock."""

    def __init__(self, net: BayesianAutoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net.both(x)


def _share(correct: Tensor) -> dict[str, Any]:
    return {"of": int(correct.sum()) / len(correct), "interval": clopper_pearson(int(correct.sum()), len(correct))}


def shown(name: str, methods: dict[str, Any]) -> Table:
    """Returns accuracies and AUCs, the mean over seeds."""
    table = Table("", "images", "accuracy", "AUC noise", "AUC disagreement", "AUC both", "ms", title=name)
    for label, seeds in methods.items():
        records = list(seeds.values())
        for at in records[0]["accuracy"]:
            row = [f"{statistics.mean(each['accuracy'][at]['of'] for each in records):.3f}"]
            for kind in ("noise", "disagreement", "both") if at in records[0]["AUC"] else ():
                row.append(f"{statistics.mean(each['AUC'][at][kind] for each in records):.4f}")
            spent = [each["latency ms"] for each in records if "latency ms" in each]
            row += [""] * (4 - len(row)) + [f"{statistics.mean(spent):.2f}" if spent else ""]
            table.add_row(label, at, *row)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints, writes JSON, and returns an exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("what", choices=["choices", "chosen"])
    parser.add_argument("--data", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--images", type=int, default=1000, help="test images (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the images drawn, and the first of the trainings")
    parser.add_argument("--seeds", type=int, default=1, help="choices: trainings of each (1)")
    parser.add_argument("--train", type=int, default=3000, help="choices: training images (3000)")
    parser.add_argument("--epochs", type=int, default=4, help="choices: of each training (4)")
    parser.add_argument("--weights", default="{data}/bayesian-autoencoder", help="chosen: shipped name or file")
    parser.add_argument("--rounds", type=int, default=7, help="of the clock, all taking turns (7)")
    parser.add_argument("--few", type=int, default=250, help="chosen: images for what is beyond table 2 (250)")
    parser.add_argument("--threads", type=int, default=2, help="of the clock; all else runs on one (2)")
    parser.add_argument("--out", type=Path, default=Path("results/bayesian-cpu.json"))
    given = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    torch.set_num_threads(1)
    try:
        for name in given.data:
            record = (choices if given.what == "choices" else chosen)(given, name, console.log)
            own = ("seeds", "train", "epochs") if given.what == "choices" else ("few",)
            said = ("images", "seed", "threads", "rounds", *own)
            options = " ".join(f"--{key} {getattr(given, key)}" for key in said)
            record |= {
                "command": f"python benchmarks/bayesian.py {given.what} --data {name} {options}",
                "machine": machine(),
            }
            parts = ("bayesian", "beyond table 2")
            methods = record.get("methods") or {part: {"": record[part]} for part in parts}
            console.print(shown(name, methods))
            known = json.loads(given.out.read_text()) if given.out.is_file() else {"schema": 1}
            known[given.what] = {**known.get(given.what, {}), name: record}
            put_bytes(given.out, f"{json.dumps(known, indent=1)}\n".encode())
    except InputError as error:
        console.print(f"error: {error}", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
