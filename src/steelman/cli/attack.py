"""`steelman attack`: adversarial images, as an .npz and as PNG files."""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.cli import options
from steelman.errors import InputError
from steelman.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from steelman.attacks import AttackLike, Result
    from steelman.data import Images

SHOWN = 10
"""Images on the overview."""

EXAMPLES = """examples:
  steelman attack --data mnist --attack pgd --eps 0.1 --images 100 --out runs/adversarial
  steelman attack --list
  steelman attack --data mnist --attack fgsm --eps 0.3 --target 3 --images 20 --out runs/threes
  steelman attack --data mnist --attack ddn --norm L2 --images 50 --out runs/smallest
  steelman attack --data mnist --attack pgd --eps 0.1 --grid --images 100 --out runs/eight-bits
  steelman attack --data my/images --model package.module:factory --weights mine.safetensors --eps 0.03 --out runs/mine

adversarial.npz holds images, clean, labels, broken and distance, and is itself a data set for --data.
overview.png shows the first ten: clean, what was added, adversarial."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = "Attack a classifier and write the adversarial images."
    command.epilog = EXAMPLES
    usual = {"attack.names": ["pgd"], "run.out": "runs/attack"}
    options.add(command, *options.DATA, *options.MODEL, *options.ATTACK, "run.out", usual=usual)
    options.add_trust(command)
    command.add_argument("--list", dest="listing", action="store_true", help="show every attack there is, and stop")
    command.add_argument("--target", type=int, help="the class to reach; any wrong one unless told")
    command.add_argument("--png", type=int, default=100, help="how many images to write as PNG too (100)")
    command.set_defaults(run=run)


def run(spec: RunSpec, *, listing: bool, target: int | None, png: int, trust_code: bool) -> int:
    """Attacks and writes; or lists the attacks."""
    if listing:
        return _listed()
    import numpy as np
    import torch

    from steelman.cli.console import console, following
    from steelman.device import device
    from steelman.evaluation.measure import on
    from steelman.files import put_bytes, writable
    from steelman.pipeline import build as built
    from steelman.report import attacked
    from steelman.spec import build

    if png < 0:
        raise InputError(f"expected --png as a number of images, got {png}")
    if len(spec.attacks.names) > 1 or len(spec.attacks.eps or [0]) > 1:
        raise InputError("expected one attack at one eps to write images of, got several: evaluate takes several")
    data, images = build.images(spec)
    at = device(spec.pipeline.device)
    if target is not None:
        images = _without(target, images, console.print)
    attack = build.attacks(spec.attacks, data, at, targeted=target is not None)[0]
    model = built(spec.pipeline, data, device=at, trust_code=trust_code)
    x, y = on(model, images)
    goals, truth = y, None
    if target is not None:
        goals, truth = torch.full_like(y, target), y
    out, seed = spec.run.out, spec.run.seed
    writable(out)
    with following(f"{attack.name} on {images.name}") as progress:
        result = attack(model, x, goals, truth=truth, seed=seed, indices=images.indices, progress=progress)
    content = BytesIO()
    np.savez_compressed(
        content,
        images=result.x.cpu().numpy(),
        clean=x.cpu().numpy(),
        labels=images.labels.numpy(),
        broken=result.broken.cpu().numpy(),
        distance=result.distance.cpu().numpy(),
        classes=np.array(images.classes),
    )
    put_bytes(out / "adversarial.npz", content.getvalue())
    adversarial, clean = (_pixels(part) for part in (result.x, x))
    _write_pngs(out / "png", adversarial[:png], images.labels.tolist(), images.indices.tolist())
    put_bytes(out / "overview.png", attacked(clean[:SHOWN], adversarial[:SHOWN]))
    fools = int(_still(model, adversarial, goals, target is not None).sum())
    reached = "reach the target" if target is not None else "fool the model"
    where = "on the 8-bit grid" if spec.attacks.grid else "rounded to 8 bits, as in the PNG files"
    console.print(
        f"{int(result.broken.sum())} of {len(x)} images {reached} ({int(result.natural.sum())} did so unattacked)"
        f"{_far(attack, result)}; "
        f"{where}, {fools} do; wrote {out}/adversarial.npz, overview.png and png/"
    )
    if spec.attacks.grid:
        ungridded = spec.attacks.model_copy(update={"grid": False})
        free = build.attacks(ungridded, data, at, targeted=target is not None)[0]
        result = free(model, x, goals, truth=truth, seed=seed, indices=images.indices)
        console.print(f"without the grid, {int(result.broken.sum())} of {len(x)} images {reached}")
    return 0


def _listed() -> int:
    from rich.table import Table

    from steelman.attacks import catalogue
    from steelman.cli.console import console

    table = Table("attack", "norms", "asks for", "finds", "targeted", "cost of an image that holds", "paper")
    refused = []
    for name in catalogue:
        try:
            entry = catalogue.get(name)
        except InputError as error:  # a plug-in that cannot be used hides no other
            refused.append(str(error))
            continue
        aim = "yes" if entry.targeted else "no"
        asks = "another model" if entry.surrogate else entry.asks
        table.add_row(name, ", ".join(entry.norms), asks, entry.finds, aim, entry.cost, entry.paper)
    console.print(table)
    for each in refused:
        console.print(each)
    return 0


def _without(target: int, images: Images, say: Callable[[str], None]) -> Images:
    """The images that are not of the target's class already."""
    if not 0 <= target < images.num_classes:
        raise InputError(f"expected --target in [0, {images.num_classes}), got {target}")
    others = (images.labels != target).nonzero().squeeze(1)
    if not len(others):
        raise InputError(f"expected images of another class than --target {target}, got that one alone")
    if len(others) < len(images):
        say(f"left out {len(images) - len(others)} images that are of class {target} as they are")
    return images.take(others)


def _far(attack: AttackLike, result: Result) -> str:
    """The median distance, where a ball says how far is far."""
    from steelman.attacks import Finds

    ball = attack.threat.ball
    moved = result.distance[result.broken & ~result.natural]
    if not len(moved) or attack.finds is Finds.OUTSIDE:
        return ""
    return f", at a median {ball.name} distance of {float(moved.median()):.3g}"


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    """(N, C, H, W) in [0, 1] as (N, H, W, C), uint8."""
    import torch

    pixels: NDArray[np.uint8] = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pixels


def _still(model: nn.Module, pixels: NDArray[np.uint8], goals: Tensor, targeted: bool) -> Tensor:
    """(N,) bool: which images do what they should as PNG files."""
    import torch

    from steelman.evaluation.measure import right

    saved = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(goals.device, torch.float32) / 255
    reads = right(model, saved, goals)
    return reads if targeted else ~reads


def _write_pngs(folder: Path, pixels: NDArray[np.uint8], labels: list[int], indices: list[int]) -> None:
    from PIL import Image

    from steelman.files import put_bytes

    for old in folder.glob("[0-9][0-9][0-9][0-9][0-9][0-9]-class*.png"):
        old.unlink()
    for array, label, index in zip(pixels, labels, indices, strict=False):
        content = BytesIO()
        Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(content, "png")
        put_bytes(folder / f"{index:06d}-class{label}.png", content.getvalue())
