"""`steelman attack`: adversarial images, as an .npz and as PNG files."""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.cli import bring
from steelman.errors import InputError

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


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "attack",
        help="write adversarial images",
        description="Attack a classifier and write the adversarial images.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bring.add_images(command)
    bring.add_model(command)
    bring.add_attacks(command)
    command.add_argument("--list", action="store_true", help="show every attack there is, and stop")
    command.add_argument("--target", type=int, help="the class to reach; any wrong one unless told")
    command.add_argument("--png", type=int, default=100, help="how many images to write as PNG too (100)")
    command.add_argument("--out", type=Path, default=Path("runs/attack"), help="the folder to write (runs/attack)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Attacks and writes; or lists the attacks."""
    if options.list:
        return _listed()
    import numpy as np
    import torch

    from steelman.cli.console import attacking, console, writable
    from steelman.evaluation.measure import on
    from steelman.files import put_bytes
    from steelman.report import attacked

    if options.png < 0:
        raise InputError(f"expected --png as a number of images, got {options.png}")
    if len(options.attack) > 1 or len(options.eps or [0]) > 1:
        raise InputError("expected one attack at one eps to write images of, got several: evaluate takes several")
    images = bring.images(options)
    if options.target is not None:
        images = _without(options.target, images, console.print)
    attack = bring.attacks(options, images, targeted=options.target is not None)[0]
    model = bring.model(options, images)
    x, y = on(model, images)
    goals, truth = y, None
    if options.target is not None:
        goals, truth = torch.full_like(y, options.target), y
    writable(options.out)
    with attacking(f"{attack.name} on {images.name}") as observe:
        result = attack(model, x, goals, truth=truth, seed=options.seed, indices=images.indices, observe=observe)
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
    put_bytes(options.out / "adversarial.npz", content.getvalue())
    adversarial, clean = (_pixels(part) for part in (result.x, x))
    _write_pngs(options.out / "png", adversarial[: options.png], images.labels.tolist(), images.indices.tolist())
    put_bytes(options.out / "overview.png", attacked(clean[:SHOWN], adversarial[:SHOWN]))
    fools = int(_still(model, adversarial, goals, options.target is not None).sum())
    reached = "reach the target" if options.target is not None else "fool the model"
    where = "on the 8-bit grid" if options.grid else "rounded to 8 bits, as in the PNG files"
    console.print(
        f"{int(result.broken.sum())} of {len(x)} images {reached} ({int(result.natural.sum())} did so unattacked)"
        f"{_far(attack, result)}; "
        f"{where}, {fools} do; wrote {options.out}/adversarial.npz, overview.png and png/"
    )
    if options.grid:
        ungridded = argparse.Namespace(**vars(options) | {"grid": False})
        free = bring.attacks(ungridded, images, targeted=attack.targeted)[0]
        result = free(model, x, goals, truth=truth, seed=options.seed, indices=images.indices)
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
