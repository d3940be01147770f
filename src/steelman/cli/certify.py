"""`steelman certify`: within which radius no change moves a classifier's answer, by randomised smoothing."""

from __future__ import annotations

import argparse
import csv
import json
from io import StringIO
from typing import TYPE_CHECKING, Any

from steelman.cli import options
from steelman.errors import InputError
from steelman.spec import RunSpec

if TYPE_CHECKING:
    from steelman.data import Images
    from steelman.defences import Certificate

EXAMPLES = """examples:
  steelman train classifier --data mnist --noise 0.25 --epochs 10 --out runs/cnn-noise.safetensors
  steelman certify --data mnist --model cnn --weights runs/cnn-noise.safetensors --sigma 0.25 --n 10000

results.json holds the settings and the table, certificates.csv every image's class and radius."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = (
        "Smooth a classifier with Gaussian noise and certify, image by image, the L2 radius within which "
        "no change whatever moves its answer. A classifier trained on such noise keeps much more than another."
    )
    command.epilog = EXAMPLES
    usual = {"data.images": 500, "run.out": "runs/certify"}
    says = {"defence.name": "in front of the classifier, under the noise too, as for evaluate"}
    keys = (*options.DATA, *options.MODEL, "defence.name", "run.out")
    options.add(command, *keys, usual=usual, says=says)
    options.add_trust(command)
    command.add_argument("--sigma", type=float, default=0.25, help="of the noise, in units of [0, 1] images (0.25)")
    command.add_argument(
        "--radii", type=options.radius, nargs="+", default=[0.25, 0.5, 0.75], help="L2 (0.25 0.5 0.75)"
    )
    command.add_argument("--n0", type=int, default=100, help="noisy copies that choose an image's class (100)")
    command.add_argument("--n", type=int, default=100_000, help="noisy copies that bound its chance (100000)")
    command.add_argument("--alpha", type=float, default=0.001, help="chance of a wrong certificate, per image (0.001)")
    command.add_argument("--batch-size", type=int, default=1000, help="copies that are read at a time (1000)")
    command.add_argument("--precision", choices=["fp32", "bf16", "auto"], default="fp32", help="of the model (fp32)")
    command.set_defaults(run=run)


def run(
    spec: RunSpec,
    *,
    sigma: float,
    radii: list[float],
    precision: str,
    trust_code: bool,
    **sampling: Any,
) -> int:
    """Certifies, prints the table and writes the folder.

    sampling: n0, n, alpha and batch_size.
    """
    import time

    from steelman.attacks.settings import count, fraction
    from steelman.cli.console import console, following
    from steelman.defences import Smoothed, guard
    from steelman.device import device
    from steelman.evaluation.measure import on
    from steelman.files import put_bytes, writable
    from steelman.models import folded
    from steelman.pipeline import build as pipeline
    from steelman.pipeline.folders import reader
    from steelman.precision import is_half
    from steelman.precision import precision as in_precision
    from steelman.spec import build
    from steelman.victim import reseed

    n0, n, alpha = (sampling[key] for key in ("n0", "n", "alpha"))
    for name, value in (("n0", n0), ("n", n), ("batch size", sampling["batch_size"])):
        count(value, name)
    fraction(alpha, "alpha")
    out, seed = spec.run.out, spec.run.seed
    data, images = build.images(spec)
    built = pipeline(spec.pipeline, data, device=device(spec.pipeline.device), trust_code=trust_code)
    if built.detector is not None:
        raise InputError(f"expected no detector under noise, got {built.defence}: certify the pipeline without it")
    model, purifier = folded(reader(built.classifier, built.preprocess)), built.purifier
    x, _ = on(model, images)
    pipeline = model if purifier is None else guard(purifier, model)
    smoothed = Smoothed(pipeline, sigma, clip=purifier is not None).eval()
    writable(out)
    reseed(seed, x.device)  # for a defence that draws by itself
    started = time.monotonic()
    with following(f"certifying on {images.name}") as progress, in_precision(precision, x.device):
        certificate = smoothed.certify(
            x,
            n0=n0,
            n=n,
            alpha=alpha,
            seed=seed,
            indices=images.indices,
            batch=sampling["batch_size"],
            progress=progress,
        )
    settings = {
        "data": images.dataset,
        "model": spec.pipeline.model or f"{data.id}/cnn",
        "weights": spec.pipeline.weights and spec.pipeline.weights.name,
        "defence": spec.pipeline.defence and built.defence,
        "sigma": sigma,
        "n0": n0,
        "n": n,
        "alpha": alpha,
        "seed": seed,
        "images": len(images),
        "precision": "bf16" if is_half(precision, x.device) else "fp32",
        "device": x.device.type,
    }
    found = _summary(certificate, images, sorted({0.0, *radii}))
    result = {"settings": settings, **found, "seconds": time.monotonic() - started}
    put_bytes(out / "results.json", (json.dumps(result, indent=2) + "\n").encode())
    put_bytes(out / "certificates.csv", _rows(certificate, images).encode())
    _show(result, images.name)
    console.print(f"wrote {out}/results.json and {out}/certificates.csv ({result['seconds']:.0f} s)")
    return 0


def _summary(certificate: Certificate, images: Images, radii: list[float]) -> dict[str, object]:
    """Certified accuracy at each radius with its interval, abstentions, and the mean radius, 0 where it is wrong."""
    from steelman.defences import ABSTAINED
    from steelman.evaluation.intervals import clopper_pearson

    rows = []
    for radius in radii:
        right = int(certificate.holds(images.y, radius).sum())
        low, high = clopper_pearson(right, len(images))
        rows.append({"radius": radius, "right": right, "accuracy": right / len(images), "low": low, "high": high})
    own = certificate.holds(images.y, 0.0).to(certificate.radius)
    return {
        "certified": rows,
        "abstained": int((certificate.classes == ABSTAINED).sum()),
        "average_radius": float((certificate.radius * own).mean()),
    }


def _rows(certificate: Certificate, images: Images) -> str:
    """One line for each image; the class of one that abstained is -1."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["index", "label", "class", "radius", "lower"])
    columns = (images.indices, images.y, certificate.classes, certificate.radius, certificate.lower)
    for index, label, answer, radius, lower in zip(*(column.tolist() for column in columns), strict=True):
        writer.writerow([index, label, answer, f"{radius:.6f}", f"{lower:.6f}"])
    return stream.getvalue()


def _show(result: dict[str, object], name: str) -> None:
    from rich.table import Table

    from steelman.cli.console import console

    settings, rows = result["settings"], result["certified"]
    assert isinstance(settings, dict)
    assert isinstance(rows, list)
    table = Table(
        title=f"{name}, {settings['images']} images: accuracy that no L2 change of this length can take away",
        caption=f"σ {settings['sigma']:g}, {settings['n']:,} noisy copies, each image at "
        f"{100 * (1 - settings['alpha']):g} % confidence; the interval is for the share of images, at 95 %",
        title_justify="left",
        caption_justify="left",
    )
    for header in ("radius", "certified accuracy", "95 % interval"):
        table.add_column(header, justify="right")
    for row in rows:
        span = f"{row['low']:.1%} to {row['high']:.1%}"
        table.add_row(f"{row['radius']:g}", f"{row['accuracy']:.1%}", span)
    console.print(table)
    console.print(
        f"abstained on {result['abstained']} of {settings['images']} images; "
        f"mean certified radius {result['average_radius']:.3f}"
    )
