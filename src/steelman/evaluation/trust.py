"""The trust checks of a run, and what they call for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from steelman.evaluation import checks
from steelman.evaluation.aims import Aim
from steelman.evaluation.checks.subject import Subject
from steelman.evaluation.worst import attempts
from steelman.streams import Streams

if TYPE_CHECKING:
    from steelman.evaluation.run import Run

CHECKED = 100
"""Images that the trust checks look at."""


def trust(run: Run, aim: Aim) -> None:
    """Makes the checks on a sample of the images, and what they call for on every survivor."""
    if run.store.fact(aim.place, "checks") is not None:
        for step in run.store.steps(aim.place):
            if step.protocol == "escalated":
                run.recall(step)
        return
    run.tell(f"checks {aim.title}")
    findings = checks.check(_subject(run, aim), run.hear)
    for finding in findings:
        for attack in finding.escalate:
            for attempt in attempts(run.bench.attacker, [attack]):
                for at, rows in enumerate(run.chunks):
                    run.attempt(aim, attempt, at, rows, "escalated")
    run.store.keep(aim.place, "checks", [asdict(finding.check) for finding in findings])


def _subject(run: Run, aim: Aim) -> Subject:
    right = run.known.right.nonzero().squeeze(1)
    keys = Streams.of(run.options.seed, run.bench.images.indices[right]).derive("checks").key
    chosen = right[keys.argsort()[:CHECKED]]
    chosen = chosen[run.bench.images.indices[chosen].argsort()]
    x, y = run.bench.batch(chosen)
    kept = run.known.right & ~run.known.broken(aim)
    static = None
    if run.bench.undefended is not None:
        static = ~_unaware(run, aim)[chosen].to(run.bench.device)
    return Subject(
        attacker=run.bench.attacker,
        given=run.given,
        undefended=run.bench.undefended,
        threat=aim.threat,
        x=x,
        y=y,
        indices=run.bench.images.indices[chosen],
        holds=(run.known.right & ~run.known.broken(aim, unaware=False))[chosen].to(run.bench.device),
        static=static,
        n=len(run.bench.images),
        kept=int(kept.sum()),
        largest=run.bench.chance,
        seed=run.options.seed,
    )


def _unaware(run: Run, aim: Aim) -> Tensor:
    """(N,) bool: broken by what was made on the bare classifier for this very aim."""
    steps = [step for step in run.store.steps(aim.place) if step.protocol == "static"]
    found = [run.marked(step, lambda outcome: outcome.broken) for step in steps]
    return torch.stack(found).any(0)
