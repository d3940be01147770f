"""Catastrophic overfitting: a network that stands one step of an attack and falls to several."""

from __future__ import annotations

from collections.abc import Sequence

from steelman.training.checkpoint import Epoch


def collapsed(history: Sequence[Epoch], val: str, step: str) -> str | None:
    """Returns what to say if the last epoch is the first to have overfitted catastrophically, else None.

    An epoch has if under `val`, the figure of an attack of many steps, less than half the images hold that do so
    under `step`, the figure of the one step that it trains on, and less than half of what held in its best epoch, if
    that was more than a tenth of the images: a network that never held has not collapsed.
    Source of the notion: Wong et al. 2020 (Fast is better than free), section 5.1; the bounds are ours.
    """
    if not history or any(_fallen(history[: at + 1], val, step) for at in range(len(history) - 1)):
        return None
    if not _fallen(history, val, step):
        return None
    last, best = history[-1], max(epoch.scores[val] for epoch in history)
    return (
        f"catastrophic overfitting in epoch {last.epoch}: {last.scores[step]:.0%} hold under {step} and "
        f"{last.scores[val]:.0%} under {val}, where {best:.0%} did before; the best epoch's weights are kept"
    )


def _fallen(history: Sequence[Epoch], val: str, step: str) -> bool:
    best = max(epoch.scores[val] for epoch in history)
    now = history[-1].scores
    return now[val] < now[step] / 2 and now[val] < best / 2 and best > 0.1
