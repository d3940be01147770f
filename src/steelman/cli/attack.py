"""`steelman attack`: adversarial images, as an .npz and as PNG files."""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path

from steelman.cli import bring
from steelman.errors import InputError

EXAMPLES = """examples:
  steelman attack --data mnist --attack pgd --eps 0.1 --images 100 --out runs/adversarial
  steelman attack --data mnist --attack fgsm --eps 0.3 --target 3 --images 20 --out runs/threes
  steelman attack --data my/images --model package.module:factory --weights mine.safetensors --eps 0.03 --out runs/mine

adversarial.npz holds images, clean, labels, broken and distance, and is itself a data set for --data."""


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
    command.add_argument("--target", type=int, help="the class to reach; any wrong one unless told")
    command.add_argument("--png", type=int, default=100, help="how many images to write as PNG too (100)")
    command.add_argument("--out", type=Path, default=Path("runs/attack"), help="the folder to write (runs/attack)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Attacks and writes."""
    from dataclasses import replace

    import numpy as np
    import torch

    from steelman.cli.show import attacking, console, writable
    from steelman.evaluation.measure import on
    from steelman.files import put_bytes

    if len(options.attack) > 1 or len(options.eps) > 1:
        raise InputError("expected one attack at one eps to write images of, got several: evaluate takes several")
    images = bring.images(options)
    model = bring.model(options, images)
    attack = bring.attacks(options)[0]
    x, y = on(model, images)
    goals = y
    if options.target is not None:
        if not 0 <= options.target < images.num_classes:
            raise InputError(f"expected --target in [0, {images.num_classes}), got {options.target}")
        attack, goals = replace(attack, targeted=True), torch.full_like(y, options.target)
    writable(options.out)
    with attacking(f"{attack.name} on {images.name}") as observe:
        result = attack(model, x, goals, seed=options.seed, indices=images.indices, observe=observe)
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
    _write_pngs(options.out / "png", result.x[: options.png].cpu(), images.labels.tolist(), images.indices.tolist())
    reached = "reach the target" if options.target is not None else "fool the model"
    console.print(
        f"{int(result.broken.sum())} of {len(x)} images {reached} ({int(result.natural.sum())} did so unattacked); "
        f"wrote {options.out}/adversarial.npz and png/"
    )
    return 0


def _write_pngs(folder: Path, x: object, labels: list[int], indices: list[int]) -> None:
    import torch
    from PIL import Image

    from steelman.files import put_bytes

    assert isinstance(x, torch.Tensor)
    pixels = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for array, label, index in zip(pixels, labels, indices, strict=False):
        content = BytesIO()
        Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(content, "png")
        put_bytes(folder / f"{index:06d}-class{label}.png", content.getvalue())
