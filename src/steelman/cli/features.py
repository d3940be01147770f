"""`steelman features`: what a model's layers make of clean and of attacked images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from steelman.cli import options
from steelman.errors import InputError
from steelman.spec import AttackSpec, RunSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from steelman.attacks import AttackLike

EXAMPLES = """examples:
  steelman features --data mnist --eps 0.3 --layers down1 body2 --out runs/features
  steelman features --data mnist --list
  steelman features --data mnist --model resnet18 --weights runs/robust.safetensors --eps 0.3 --out runs/features

features.png has two lines an image, the clean above the adversarial one, and in each the image and one channel of every
layer. report.html adds how much of what a layer says is noise, over all images."""


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = "Draw what the layers of a classifier make of clean and of attacked images."
    command.epilog = EXAMPLES
    usual = {"data.images": 100, "attack.names": ["pgd"], "run.out": "runs/features"}
    options.add(command, *options.DATA, *options.MODEL, *options.ATTACK, "run.out", usual=usual)
    options.add_trust(command)
    command.add_argument("--layers", nargs="+", help="by name (the model's parts that give feature maps)")
    command.add_argument("--list", dest="listing", action="store_true", help="show the names of the layers, and stop")
    command.add_argument("--pictures", type=int, default=4, help="how many images to draw (4)")
    command.set_defaults(run=run)


def run(spec: RunSpec, *, layers: list[str] | None, listing: bool, pictures: int, trust_code: bool) -> int:
    """Attacks, draws and writes; or lists the layers."""
    from steelman.cli.console import console, finish, following
    from steelman.device import device
    from steelman.evaluation import measure
    from steelman.evaluation.features import answers, feature_maps
    from steelman.files import put_bytes, writable
    from steelman.pipeline import build as built
    from steelman.pipeline.folders import reader
    from steelman.records import Evaluation
    from steelman.report.feature_maps import sheet
    from steelman.spec import build

    data, images = build.images(spec)
    at = device(spec.pipeline.device)
    pipeline = built(spec.pipeline, data, device=at, trust_code=trust_code)
    # where nothing defends it, its layers bear their own names
    model = pipeline if pipeline.undefended is not None else reader(pipeline.classifier, pipeline.preprocess)
    x, y = measure.on(model, images)
    if listing:
        for name in _drawable(model, x[:1], all_of_them=True):
            console.print(name)
        return 0
    if pictures < 1:
        raise InputError(f"expected --pictures as a number of images from 1, got {pictures}")
    attack = _one(spec.attacks, build.attacks(spec.attacks, data, at))
    layers = layers or _drawable(model, x[:1], all_of_them=False)
    if not layers:
        raise InputError("expected --layers, as no part of this model gives feature maps: --list shows those that do")
    answers(model, x[:1], layers)
    seed, out = spec.run.seed, spec.run.out
    writable(out)
    with following(f"{attack.name} on {images.name}") as progress:
        result = attack(model, x, y, seed=seed, indices=images.indices, progress=progress)
    name = spec.pipeline.model or "cnn"
    called: dict[str, Any] = {
        "classifier": name,
        "defence": "none",
        "eps": float(attack.threat.eps),
        "norm": attack.threat.ball.name,
    }
    found = feature_maps(
        model,
        images,
        result.x,
        [{layer: layer} for layer in layers],
        pictured=pictures,
        attack=attack.name,
        **called,
    )
    put_bytes(out / "features.png", sheet(found))
    where = called | {"table": "evaluate", "dataset": found.dataset, "protocol": "adaptive"}
    rows = (
        measure.row(measure.right(model, x, y), **where | {"attack": "none", "eps": 0.0}),
        measure.row(~result.broken, **where | {"attack": attack.name}),
    )
    evaluation = Evaluation(
        title=f"Feature maps of {name} on {images.name}",
        rows=rows,
        features=(found,),
        settings={"attack": repr(attack), "layers": list(layers), "seed": seed},
        versions=measure.versions(),
    )
    finish(evaluation, out)
    return 0


def _one(spec: AttackSpec, made: Sequence[AttackLike]) -> AttackLike:
    """The one attack, run to its end, so that every network sees as much of it.

    Raises InputError for several, and for one that is no attack on each image inside a radius.
    """
    from steelman.attacks import Last, Worst
    from steelman.attacks.attack_like import on_each

    if len(made) > 1:
        raise InputError("expected one attack at one eps to draw features of, got several")
    attack = made[0]
    if not on_each(attack) or spec.eps is None:
        raise InputError(f"expected an attack on each image inside a radius, got {spec.names[0]}: say pgd --eps 0.1")
    return attack.with_goal(Last() if attack.name in ("fgsm", "bim", "pgd") else Worst())


def _drawable(model: nn.Module, x: Tensor, *, all_of_them: bool) -> list[str]:
    """The modules that answer one image with feature maps: all, or those that the model is directly made of."""
    import torch

    from steelman.victim import Victim

    top, prefix = model, ""
    while len(children := list(top.named_children())) == 1:
        prefix, top = f"{prefix}{children[0][0]}.", children[0][1]
    names = dict(model.named_modules()) if all_of_them else {f"{prefix}{k}": v for k, v in top.named_children()}
    found: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def look(module: nn.Module, given: object, out: object) -> None:
            if isinstance(out, torch.Tensor) and out.dim() == 4 and name and name not in found:
                found.append(name)

        return look

    handles = [module.register_forward_hook(hook(name)) for name, module in names.items()]
    try:
        with Victim(model, device=x.device), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found
