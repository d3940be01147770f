"""What the trust checks of a run look at."""

from __future__ import annotations

from torch import Tensor, nn

from steelman.evaluation.checks.context import CheckContext
from steelman.evaluation.planning.threat_groups import ThreatGroup
from steelman.evaluation.running.attempt_runner import AttemptRunner
from steelman.evaluation.running.run_state import RunState
from steelman.streams import Streams

CHECKED = 100
"""Images that the trust checks look at."""


def check_context(
    made: AttemptRunner, state: RunState, given: nn.Module, group: ThreatGroup, static: Tensor | None
) -> CheckContext:
    """Returns a seeded sample of the images that are classified correctly, with what is known of them.

    given: the model as it was handed in.  static: (N,) bool, broken by what was made on the bare classifier for this
    very group; None where there is none.
    """
    right = state.right.nonzero().squeeze(1)
    keys = Streams.of(made.seed, made.images.indices[right]).derive("checks").key
    chosen = right[keys.argsort()[:CHECKED]]
    chosen = chosen[made.images.indices[chosen].argsort()]
    x, y = made.batch(chosen)
    return CheckContext(
        attacker=made.attacker,
        given=given,
        undefended=made.undefended,
        threat=group.threat,
        x=x,
        y=y,
        indices=made.images.indices[chosen],
        holds=(state.right & ~state.broken(group, oblivious=False))[chosen].to(made.device),
        static=None if static is None else ~static[chosen].to(made.device),
        n=len(made.images),
        kept=int((state.right & ~state.broken(group)).sum()),
        largest=made.chance,
        seed=made.seed,
    )
