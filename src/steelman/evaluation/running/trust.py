"""The trust checks of a run, and what they call for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from steelman.evaluation import checks
from steelman.evaluation.checks.context import CheckContext
from steelman.evaluation.planning.attempts import attempts
from steelman.evaluation.planning.threat_groups import ThreatGroup
from steelman.evaluation.storing.journal import StepKind
from steelman.streams import Streams

if TYPE_CHECKING:
    from steelman.evaluation.running.runner import Runner

CHECKED = 100
"""Images that the trust checks look at."""


def trust(runner: Runner, group: ThreatGroup) -> None:
    """Makes the checks on a sample of the images, and what they call for on every survivor."""
    if runner.store.fact(group.place, "checks") is not None:
        for step in runner.store.steps(group.place):
            if step.kind is StepKind.ESCALATED:
                runner.load_step(step)
        return
    runner.tell(f"checks {group.title}")
    findings = checks.check(_context(runner, group), runner.on_progress)
    for finding in findings:
        for attack in finding.escalate:
            for attempt in attempts(runner.attempts.attacker, [attack]):
                for at, rows in enumerate(runner.chunks):
                    runner.attempt(group, attempt, at, rows, StepKind.ESCALATED)
    runner.store.keep(group.place, "checks", [asdict(finding.check) for finding in findings])


def _context(runner: Runner, group: ThreatGroup) -> CheckContext:
    right = runner.state.right.nonzero().squeeze(1)
    keys = Streams.of(runner.options.seed, runner.attempts.images.indices[right]).derive("checks").key
    chosen = right[keys.argsort()[:CHECKED]]
    chosen = chosen[runner.attempts.images.indices[chosen].argsort()]
    x, y = runner.attempts.batch(chosen)
    kept = runner.state.right & ~runner.state.broken(group)
    static = None
    if runner.attempts.undefended is not None:
        static = ~_oblivious(runner, group)[chosen].to(runner.attempts.device)
    return CheckContext(
        attacker=runner.attempts.attacker,
        given=runner.given,
        undefended=runner.attempts.undefended,
        threat=group.threat,
        x=x,
        y=y,
        indices=runner.attempts.images.indices[chosen],
        holds=(runner.state.right & ~runner.state.broken(group, oblivious=False))[chosen].to(runner.attempts.device),
        static=static,
        n=len(runner.attempts.images),
        kept=int(kept.sum()),
        largest=runner.attempts.chance,
        seed=runner.options.seed,
    )


def _oblivious(runner: Runner, group: ThreatGroup) -> Tensor:
    """(N,) bool: broken by what was made on the bare classifier for this very group."""
    steps = [step for step in runner.store.steps(group.place) if step.kind is StepKind.STATIC]
    found = [runner.mask(step, lambda outcome: outcome.broken) for step in steps]
    return torch.stack(found).any(0)
