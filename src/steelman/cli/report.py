"""`steelman report`: a run folder to HTML again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from steelman.errors import unknown
from steelman.files import put_bytes

if TYPE_CHECKING:
    from steelman.records import Evaluation


def add(command: argparse.ArgumentParser) -> None:
    """Adds the command's options to its parser."""
    command.description = "Read results.json and pictures.npz of a run folder and write the report as one HTML file."
    command.epilog = (
        "examples:\n  steelman report runs/demo --out demo.html\n"
        "  steelman report runs/guarded --card runs/purifier.safetensors"
    )
    command.add_argument("folder", type=Path, help="a folder that reproduce or evaluate wrote")
    command.add_argument("--out", type=Path, help="the HTML file (report.html in the folder)")
    command.add_argument(
        "--card", type=Path, help="write a model card beside these weights instead, as FILE.md; what they were run with"
    )
    command.set_defaults(run=run)


def run(folder: Path, out: Path | None, card: Path | None) -> int:
    """Reads and writes."""
    from steelman.cli.console import console
    from steelman.records import read
    from steelman.report import write_html

    evaluation = read(folder)
    if card is not None:
        path = out or card.with_suffix(".md")
        put_bytes(path, _card(card, evaluation).encode())
    else:
        path = out or folder / "report.html"
        write_html(evaluation, path)
    console.print(f"wrote {path}")
    return 0


def _card(path: Path, evaluation: Evaluation) -> str:
    import inspect

    from steelman import defences, models, weights
    from steelman.report.weights_card import weights_card

    _, settings = weights.read(path)
    kind = str(settings.get("defence") or settings.get("model"))
    known = {**models.catalogue, **defences.catalogue}
    if kind not in known:
        raise unknown("kind of weights", kind, known)
    about = inspect.getdoc(known[kind]) or ""
    name = f"{settings.get('data')}/{path.stem}"
    return weights_card(name, about.partition("\n\n")[0], settings, path.stat().st_size, evaluation)
