"""The card that stands beside shipped weights: what they are, how they were made, what they hold and what not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from steelman.records import Evaluation
from steelman.report.headline import openings
from steelman.report.model_card import overview
from steelman.report.table import plain
from steelman.report.tabulation import tables

_RECIPE = ("epochs", "batch_size", "optimiser", "rate", "weight_decay", "average", "clip", "precision", "seed")


def weights_card(name: str, about: str, settings: Mapping[str, Any], size: int, evaluation: Evaluation) -> str:
    """Returns a card in Markdown.

    name: of the weights, as in "mnist/robust-autoencoder".  about: what they are, in a paragraph.
    settings: what stands beside them in their file.  size: of it, in bytes.
    evaluation: of a pipeline with them, whose figures the card shows.
    """
    parts = [f"# {plain(name)}\n", f"{plain(about)}\n", *_made(settings, size), *_figures(evaluation), _LIMITS]
    return "\n".join(parts)


def _made(settings: Mapping[str, Any], size: int) -> Iterator[str]:
    recipe = settings.get("recipe", {})
    facts = {
        "data": settings.get("data"),
        "training images": settings.get("trained_on"),
        "built as": settings.get("arguments"),
        "objective": settings.get("objective"),
        "recipe": {key: recipe[key] for key in _RECIPE if key in recipe},
        "on validation images": settings.get("validation"),
        "command": settings.get("command"),
        "commit": settings.get("commit"),
        "classifier, SHA-256": settings.get("classifier"),
        "torch": settings.get("torch"),
        "file": f"{size:,} bytes, safetensors",
    }
    yield "## How they were made\n"
    yield "\n".join(f"- {what}: {_shown(value)}" for what, value in facts.items() if value) + "\n"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(part)}" for key, part in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else f"`{plain(str(value))}`"


def _figures(evaluation: Evaluation) -> Iterator[str]:
    yield "## What they hold\n"
    opened = openings(evaluation)
    if opened:
        yield overview(opened).to_markdown()
        yield from (f"{plain(opening.caveat)} {plain(opening.context)}\n" for opening in opened)
    else:
        yield from (table.to_markdown() for table in tables(evaluation))
    command = evaluation.settings.get("command")
    if command:
        yield f"Measured by `{plain(str(command))}`.\n"


_LIMITS = """## What they do not protect against

- Changes larger than those above, or of another norm: the figures are of these threats alone. `steelman evaluate`
  with `--norm` and `--eps` shows the same weights under others.
- Images of other data, and a classifier that reads the purifier's drawings otherwise: evaluate your own pipeline.
- What changes the meaning of an image. At Linf radii from .5 one grey image lies in every image's ball, and nothing can
  hold there.
- An adaptive figure is what was left by the attacks that were made; only the certified one is proved, and it is proved
  of these weights in single precision.
"""
