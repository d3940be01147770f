"""Several detectors as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from steelman.defences.detectors.logistic import Logistic
from steelman.defences.detectors.watched import Detector, Watched, demand, examples
from steelman.errors import InputError


class Combined(nn.Module):
    """Ours: the log-odds of an attack by logistic regression on the standardised scores of other detectors.

    Scores are compressed by asinh once they are standardised, so that none can outvote all others by being extreme.
    No weight is negative: no detector ever speaks for an image that it finds suspicious.
    members: fitted before, and on other images than this is.
    penalty: weight of half the squared norm of the weights beside the summed log-loss.
    """

    name = "combined"
    centre: Tensor
    spread: Tensor

    def __init__(self, members: Sequence[nn.Module], penalty: float = 1.0) -> None:
        super().__init__()
        if not members:
            raise InputError("expected at least one detector to combine, got none")
        self.members = nn.ModuleList(members)
        self.settings: dict[str, object] = {
            "members": [{"detector": member.name, "arguments": member.settings} for member in members],
            "penalty": penalty,
        }
        seen: list[Detector] = list(members)  # type: ignore[arg-type]
        self.watched = Watched(
            next((member.watched.classifier for member in seen if member.watched.classifier is not None), None),
            next((member.watched.purifier for member in seen if member.watched.purifier is not None), None),
        )
        self.register_buffer("centre", torch.empty(0))
        self.register_buffer("spread", torch.empty(0))
        self.weigh = Logistic(penalty, positive=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Returns (N,), higher is more suspicious."""
        demand(self, self.centre, self.weigh.weight)
        out: Tensor = self.weigh(self._columns(x))
        return out

    def fit(self, x: Tensor, y: Tensor, attacked: Tensor | None = None) -> Self:
        """Fits the weights to clean images and to one attack, or makes them alike without one, and returns itself."""
        examples(self, x, y, attacked)
        clean = self._gathered(x)
        self.centre = clean.median(0).values
        self.spread = (clean - self.centre).abs().mean(0).clamp_min(1e-12)
        x_adv = None if attacked is None else self._pressed(self._gathered(attacked))
        self.weigh.fit(self._pressed(clean), x_adv)
        return self

    def _scores(self, x: Tensor) -> Tensor:
        return torch.stack([member.score(x) for member in self.members], 1)  # type: ignore[operator]

    @torch.no_grad()
    def _gathered(self, x: Tensor) -> Tensor:
        return torch.cat([self._scores(part) for part in x.split(256)])

    def _pressed(self, scores: Tensor) -> Tensor:
        return ((scores - self.centre) / self.spread).asinh()

    def _columns(self, x: Tensor) -> Tensor:
        return self._pressed(self._scores(x))
