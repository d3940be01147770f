"""What a run knows of every image while it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from steelman.evaluation.aims import Aim
from steelman.evaluation.journal import Outcome


@dataclass(eq=False)
class Known:
    """What a run has found so far, all (N,) in the order of its images.

    right: read right unattacked.  near: by norm, the smallest change that is known to break each, infinite where none
    is; found: the same of what was made knowing the pipeline.  gone: by aim, broken inside it.
    certified: by aim, proved.
    """

    right: Tensor
    near: dict[str, Tensor]
    found: dict[str, Tensor]
    gone: dict[int, Tensor]
    certified: dict[int, Tensor]

    def broken(self, aim: Aim, *, unaware: bool = True) -> Tensor:
        """Returns (N,) bool: what is known to break inside an aim; unaware: by what was made without knowing too."""
        near = (self.near if unaware else self.found)[aim.norm]
        return self.gone[aim.place] | (aim.threat.reaches(near) if aim.bounded else False)

    def alive(self, aim: Aim) -> Tensor:
        """Returns (N,) bool: read right, not proved, and not broken by one who knows."""
        return self.right & ~self.certified[aim.place] & ~self.broken(aim, unaware=False)

    def note(self, place: int, protocol: str, aim: Aim | None, outcome: Outcome) -> None:
        """Takes over what one attempt made of the image at a place; no aim for the look at the clean image."""
        if aim is None:
            self.right[place] = not outcome.broken
        elif protocol == "certificate":
            self.certified[aim.place][place] = not outcome.broken
        elif outcome.broken:
            if not aim.bounded:
                self.gone[aim.place][place] = True
            for table in (self.near, *([] if protocol == "static" else [self.found])):
                table[aim.norm][place] = min(float(table[aim.norm][place]), outcome.distance)


def nothing(n: int, aims: tuple[Aim, ...]) -> Known:
    """Returns what is known before anything was tried, of n images."""
    no, far = torch.zeros(n, dtype=torch.bool), torch.full((n,), math.inf, dtype=torch.float64)
    norms = {aim.norm for aim in aims}
    return Known(
        right=no.clone(),
        near={norm: far.clone() for norm in norms},
        found={norm: far.clone() for norm in norms},
        gone={aim.place: no.clone() for aim in aims},
        certified={aim.place: no.clone() for aim in aims},
    )
