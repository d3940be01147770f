"""What a run knows of every image while it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from steelman.evaluation.planning.threat_groups import ThreatGroup
from steelman.evaluation.storing.journal import Outcome, StepKind


@dataclass(eq=False)
class RunState:
    """What a run has found so far, all (N,) in the order of its images.

    right: classified correctly unattacked.  near: by norm, the smallest change that is known to break each, infinite
    where none is; found: the same of what was made knowing the pipeline.  gone: by group, broken inside it.
    certified: by group, proved.
    """

    right: Tensor
    near: dict[str, Tensor]
    found: dict[str, Tensor]
    gone: dict[int, Tensor]
    certified: dict[int, Tensor]

    def broken(self, group: ThreatGroup, *, oblivious: bool = True) -> Tensor:
        """Returns (N,) bool: what is known to break inside a group; oblivious: by what was made oblivious too."""
        near = (self.near if oblivious else self.found)[group.norm]
        return self.gone[group.place] | (group.threat.reaches(near) if group.bounded else False)

    def alive(self, group: ThreatGroup) -> Tensor:
        """Returns (N,) bool: classified correctly, not proved, and not broken by one who knows."""
        return self.right & ~self.certified[group.place] & ~self.broken(group, oblivious=False)

    def note(self, place: int, kind: StepKind, group: ThreatGroup | None, outcome: Outcome) -> None:
        """Takes over what one attempt made of the image at a place; no group for the look at the clean image."""
        if group is None:
            self.right[place] = not outcome.broken
        elif kind is StepKind.CERTIFICATE:
            self.certified[group.place][place] = not outcome.broken
        elif outcome.broken:
            if not group.bounded:
                self.gone[group.place][place] = True
            for table in (self.near, *([] if kind is StepKind.STATIC else [self.found])):
                table[group.norm][place] = min(float(table[group.norm][place]), outcome.distance)


def nothing_yet(n: int, groups: tuple[ThreatGroup, ...]) -> RunState:
    """Returns what is known before anything was tried, of n images."""
    no, far = torch.zeros(n, dtype=torch.bool), torch.full((n,), math.inf, dtype=torch.float64)
    norms = {group.norm for group in groups}
    return RunState(
        right=no.clone(),
        near={norm: far.clone() for norm in norms},
        found={norm: far.clone() for norm in norms},
        gone={group.place: no.clone() for group in groups},
        certified={group.place: no.clone() for group in groups},
    )
