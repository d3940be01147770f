"""Is the evaluation's attack as strong as it could easily be?"""

from __future__ import annotations

from dataclasses import replace

from steelman.attacks import Attack, Cascade, Settling, fgsm, standard
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.recheck import against, all_of, first, iterated, rarely, survivors
from steelman.evaluation.checks.trust_check import failed, passed
from steelman.losses import margin
from steelman.threat import Threat

_UNLIKELY = 0.01


def one_step(context: CheckContext) -> Finding:
    """Returns whether a single step breaks what iterated attacks leave: survivors, and what 20 steps of PGD left.

    Source: Athalye et al. 2018 (Obfuscated gradients), section 3.1, and Carlini et al. 2019 (On evaluating adversarial
    robustness), section 4.
    """
    single = replace(fgsm(context.threat, loss=margin), name="fgsm on the margin")
    rows = survivors(context, 100)
    left = against(context, single, rows)
    seen = first(context, 64)
    once = context.attacked(single, seen).broken
    often = context.attacked(iterated(context.threat, steps=20), seen).broken
    only_once, only_often = int((once & ~often).sum()), int((often & ~once).sum())
    message = (
        f"{left.words('one step')} Of {len(seen)} images 20 steps of PGD broke {int(often.sum())}, one step "
        f"{int(once.sum())}, of which {only_once} held against PGD."
    )
    weaker = only_once > only_often and rarely(only_once, only_often) < _UNLIKELY
    if left.much or weaker:
        return failed(message, escalate=all_of(single, left))
    return passed(message, escalate=all_of(single, left))


def more_steps(context: CheckContext) -> Finding:
    """Returns whether twice the steps and starts of the standard climbs break more of the survivors than noise.

    Source: Carlini et al. 2019 (On evaluating adversarial robustness), section 5.6.
    """
    attack = doubled(context.threat)
    rows = survivors(context, 100)
    found = against(context, attack, rows)
    message = found.words("twice the steps and starts")
    if found.much:
        return failed(message, escalate=(attack,))
    return passed(message, escalate=all_of(attack, found))


def doubled(threat: Threat) -> Cascade:
    """Returns the climbs of `standard` with twice the steps and twice the starts, those from blocks on what is near."""
    whole = standard(threat)
    parts = tuple(_twice(part) for part in whole.attacks[:3])
    return replace(whole, name="standard doubled", attacks=parts, near=(1.0, 1.0, 0.35))


def _twice(part: Attack) -> Attack:
    assert isinstance(part.rule, Settling)
    starts = part.restarts if part.rule.from_input else 2 * part.restarts
    return replace(part, rule=replace(part.rule, steps=2 * part.rule.steps), restarts=starts)
