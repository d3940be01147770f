"""What one attempt makes of some images, as the lines of a journal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from steelman.attacks import AttackLike, Result, catalogue, pgd
from steelman.data import Images
from steelman.evaluation import measure
from steelman.evaluation.certificates import certify
from steelman.evaluation.padding import PadBatch
from steelman.evaluation.planning.attacker import Attacker
from steelman.evaluation.planning.attempts import Attempt, attempts
from steelman.evaluation.planning.threat_groups import ThreatGroup
from steelman.evaluation.storing.journal import Outcome, Step
from steelman.progress import OnProgress

_SHOWN = 4
"""Of the survivors of a chunk, and where a run has no folder of what broke too, so many are kept for the pictures."""

Made = tuple[list[Outcome], Tensor | None]
"""The lines, and the adversarial images, (M, *S), that they name."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of work that is journaled whole or not at all: one step on one chunk of the images."""

    step: Step
    chunk: int
    make: Callable[[OnProgress], Made]


@dataclass(frozen=True, eq=False)
class AttemptRunner:
    """A pipeline, the bare classifier, images, and the seed of everything that draws.

    keeps: whether every adversarial image is kept.  Rows, (M,) int64, are positions in `images`.
    """

    attacker: Attacker
    undefended: nn.Module | None
    images: Images
    device: torch.device
    seed: int
    keeps: bool

    @property
    def chance(self) -> float:
        """The share of the largest class."""
        return float(self.images.labels.bincount().max()) / len(self.images)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns images and labels on the pipeline's device."""
        x, y = self.images.batch(rows)
        return x.to(self.device), y.to(self.device)

    def clean(self, rows: Tensor) -> Made:
        """What the pipeline, and the bare classifier, read unattacked."""
        x, y = self.batch(rows)
        draws = self.attacker.draws
        margins = measure.margins(PadBatch(self.attacker.pipeline), x, y, seed=self.seed + 1, draws=draws).tolist()
        bare: list[bool | None] = [None] * len(rows)
        if self.undefended is not None:
            bare = (measure.margins(PadBatch(self.undefended), x, y) > 0).tolist()
        return [
            Outcome(number, margin > 0, other, margin, 0.0, draws, 0, self.seed, "")
            for number, margin, other in zip(self._numbers(rows), margins, bare, strict=True)
        ], None

    def static(self, attack: AttackLike, rows: Tensor, progress: OnProgress) -> Made:
        """What an attack makes of the bare classifier, and what the pipeline then reads."""
        assert self.undefended is not None
        x, y = self.batch(rows)
        made = attack(
            PadBatch(self.undefended), x, y, seed=self.seed, indices=self.images.indices[rows], progress=progress
        )
        draws = self.attacker.draws
        margins = measure.margins(
            PadBatch(self.attacker.pipeline), made.x, y, seed=self.seed + 1, draws=draws, abstention="right"
        )
        columns = (self._numbers(rows), made.broken.tolist(), margins.tolist(), made.distance.tolist())
        return [
            Outcome(number, margin > 0, bare, margin, distance, draws, 0, self.seed, f"static/{attack.name}")
            for number, bare, margin, distance in zip(*columns, strict=True)
        ], None

    def proof(self, group: ThreatGroup, rows: Tensor) -> Made | str:
        """What can be proved, or why nothing can; what a few steps break is not tried, as nobody could prove it."""
        x, y = self.batch(rows)
        hopeless = self._soon_broken(group, x, y, rows)
        proved = certify(self.attacker, x[~hopeless], y[~hopeless], group.threat)
        if isinstance(proved, str):
            return proved
        numbers, left = self._numbers(rows[hopeless.cpu()]), self._numbers(rows[~hopeless.cpu()])
        columns = (left, proved.holds.tolist(), proved.margin.tolist(), proved.by)
        return [
            *(Outcome(number, True, None, math.inf, 0.0, 0, 0, self.seed, "") for number in numbers),
            *(
                Outcome(number, not holds, None, margin, 0.0, 0, 0, self.seed, by)
                for number, holds, margin, by in zip(*columns, strict=True)
            ),
        ], None

    def _soon_broken(self, group: ThreatGroup, x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        """(M,) bool: which of these five steps break."""
        if not self.attacker.paths or group.norm not in catalogue["pgd"].norms:
            return torch.zeros(len(x), dtype=torch.bool, device=x.device)
        attempt = next(attempts(self.attacker, [pgd(group.threat, steps=5)]))
        return attempt(self.attacker, x, y, indices=self.images.indices[rows], seed=self.seed).broken

    def attempt(self, group: ThreatGroup, attempt: Attempt, rows: Tensor, progress: OnProgress) -> Made:
        """What an attempt finds; its images inside the group, and those of a few that hold."""
        if not len(rows):
            return [], None
        x, y = self.batch(rows)
        found = attempt(self.attacker, x, y, indices=self.images.indices[rows], seed=self.seed, progress=progress)
        shown = self._shown(group, found)
        place = torch.where(shown, shown.cumsum(0) - 1, -1).tolist()
        columns = (
            self._numbers(rows),
            found.broken.tolist(),
            found.margin.tolist(),
            found.distance.tolist(),
            found.forwards.tolist(),
            found.backwards.tolist(),
            attempt.parts(found.by),
            place,
            self._once(found, y),
        )
        return [
            Outcome(number, broken, None, margin, far, ahead, back, self.seed, by, row if row >= 0 else None, once)
            for number, broken, margin, far, ahead, back, by, row, once in zip(*columns, strict=True)
        ], found.x[shown]

    def _shown(self, group: ThreatGroup, found: Result) -> Tensor:
        """(M,) bool: which images are kept."""
        inside = found.broken & (group.threat.reaches(found.distance) if group.bounded else True)
        few = min(_SHOWN, len(inside))
        shown = inside.clone()
        if not self.keeps:
            shown = torch.zeros_like(inside)
            shown[torch.where(inside, -found.distance, -torch.inf).topk(few).indices] = True
        shown[torch.where(inside, -torch.inf, found.margin).topk(few).indices] = True
        return shown

    def _once(self, found: Result, y: Tensor) -> list[bool | None]:
        """Whether a random pipeline misclassifies the worst image of each in some one of its looks."""
        if not self.attacker.random:
            return [None] * len(y)
        looks = [
            measure.margins(self.attacker.pipeline, found.x, y, seed=self.seed + 2 + turn, abstention="right") > 0
            for turn in range(self.attacker.draws)
        ]
        once: list[bool | None] = torch.stack(looks).any(0).tolist()
        return once

    def _numbers(self, rows: Tensor) -> list[int]:
        numbers: list[int] = self.images.indices[rows].tolist()
        return numbers
