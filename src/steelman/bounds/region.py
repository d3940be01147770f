"""The set of images that a network is bounded over: a ball around each, inside a box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from steelman.bounds.graph import SUMMED, Box, dot
from steelman.errors import InputError
from steelman.norms import L1, Linf, column
from steelman.threat import Threat


@dataclass(frozen=True, eq=False)
class Region:
    """A threat around images (N, *S).

    box: the smallest box around the set, a little wider than it by rounding.
    """

    x: Tensor
    threat: Threat
    box: Box

    def greatest(self, rows: Tensor) -> Tensor:
        """Returns (N, S): an upper bound of rows (N, S, P) · image over the set, in double precision.

        Exact for Linf. For L2 and L1 the lesser of two: what the ball allows (its dual norm) and what the box does.
        """
        low, high = (end.reshape(len(self.x), 1, -1) for end in self.box)
        unit = torch.finfo(rows.dtype).eps
        bound = dot(rows.clamp_min(0), high) + dot(rows.clamp_max(0), low)
        bound = bound + SUMMED * unit * dot(rows.detach().abs(), torch.maximum(high.abs(), low.abs()))
        if self.threat.ball.entrywise:
            return bound
        clean = self.x.reshape(len(self.x), 1, -1)
        flat = rows.flatten(0, 1)
        ball = replace(self.threat.ball, share=1e-12) if isinstance(self.threat.ball, L1) else self.threat.ball
        gain = dot(flat[:, None], ball.steepest(flat)[:, None]).view(rows.shape[:2])
        eps = column(self.threat.eps, self.x)
        reach = eps.double().flatten()[:, None] if isinstance(eps, Tensor) else eps
        noise = SUMMED * unit * (dot(rows.detach().abs(), clean.abs()) + 2 * reach * gain)
        return torch.minimum(bound, dot(rows, clean) + gain * reach + noise)


def region(x: Tensor, threat: object) -> Region:
    """Returns the set of a threat around images: a Threat, a ball, or an eps that is meant as Linf.

    x: (N, *S), float32 or float64, inside the threat's box.
    Raises InputError for images or a threat that no bound is known for.
    """
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64) or x.dim() < 2 or not x.numel():
        came = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"expected images (N, *shape) as a float32 or float64 tensor, got {came}")
    known = _threat(threat)
    least, most = (float(end) for end in torch.aminmax(x.detach()))
    if not (least >= known.low and most <= known.high):
        raise InputError(
            f"expected images in [{known.low:g}, {known.high:g}], got values from {least:g} to {most:g}: "
            "put the normalisation inside the model, or say Threat(..., low=…, high=…)"
        )
    eps = column(known.eps, x)
    reach = torch.as_tensor(eps, dtype=x.dtype, device=x.device)
    if not bool(torch.isfinite(reach).all()):
        raise InputError("expected a finite eps, got inf: say how large the ball is, as in Linf(0.1)")
    reach = reach + torch.where(reach > 0, 2 * torch.finfo(x.dtype).eps * (reach + x.abs()), 0)
    box = Box((x - reach).clamp(min=known.low), (x + reach).clamp(max=known.high))
    return Region(x, known, box)


def _threat(threat: object) -> Threat:
    if isinstance(threat, Threat):
        known = threat
    elif isinstance(threat, int | float | Tensor):
        known = Threat(Linf(threat))
    elif hasattr(threat, "project") and hasattr(threat, "eps"):
        known = Threat.of(threat)  # type: ignore[arg-type]
    else:
        raise InputError(f"expected a threat, a ball or a radius, got {threat!r}: say Linf(0.1)")
    if known.ball.name not in ("Linf", "L2", "L1"):
        raise InputError(f"expected a threat of norm Linf, L2 or L1, got {known.ball.name}: nothing bounds it here")
    if not (math.isfinite(known.low) and math.isfinite(known.high)):
        raise InputError("expected a box with finite sides, got an endless one: say Threat(..., low=0, high=1)")
    return known
