"""What a table is made of: one pipeline under one attack at one eps."""

from __future__ import annotations

from dataclasses import dataclass

from steelman.records.kinds import Protocol

WORST = "worst of all"
"""What the attack of a row is called that counts what survives every other of its threat."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One cell of a table: the accuracy of one pipeline under one attack at one eps.

    table: "evaluate", or one of a study.
    protocol: certified for the share that is proved to hold.
    norm: of the attack, "Linf", "L2", "L1" or "L0"; "none" for one that no ball describes, whose eps is 0.
    n: images measured; 0 and no accuracy where only a published figure stands.  ci_low, ci_high: 95 %, Clopper-Pearson.
    published: the figure of a publication.
    latency_ms: median for one image through defence and classifier on `threads` threads; published where n is 0.
    note: what a reader must know of this cell.
    seen: whether attacks of this kind were trained on; None where nobody asks.
    worst_case: whether it counts what survives every one of several attacks.
    """

    table: str
    dataset: str
    classifier: str
    defence: str
    attack: str
    eps: float
    protocol: Protocol
    n: int
    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    published: float | None = None
    latency_ms: float | None = None
    threads: int | None = None
    note: str = ""
    norm: str = "Linf"
    seen: bool | None = None
    worst_case: bool = False
