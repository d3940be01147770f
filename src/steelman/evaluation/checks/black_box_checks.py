"""Attacks that know less must not find more."""

from __future__ import annotations

from dataclasses import replace

from steelman.attacks import square, transfer
from steelman.attacks.catalogue import catalogue
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.recheck import all_of, iterated, recheck, survivors, unaided
from steelman.evaluation.checks.trust_check import failed, passed, skipped

_QUERIES, _FEW = 1000, 300
"""Queries of an image; the second of a random pipeline, of which each is a mean of several answers."""


def black_box(context: CheckContext) -> Finding:
    """Returns whether a search by scores alone breaks what gradients left.

    Source: Athalye et al. 2018 (Obfuscated gradients), section 3.1; the search is that of Andriushchenko et al. 2020.
    """
    ball = context.threat.ball.name
    if ball not in catalogue["square"].norms:
        return skipped(f"The search by scores, square, has no {ball}.")
    queries = _FEW if context.attacker.random else _QUERIES
    rows = survivors(context, 48)
    found = recheck(
        context, rows, unaided(context, square(context.threat, queries=queries), rows) if len(rows) else None
    )
    message = found.words(f"square with {queries:,} queries")
    attack = square(context.threat)
    if found.much:
        return failed(message, escalate=(attack,))
    return passed(message, escalate=all_of(attack, found))


def transferred(context: CheckContext) -> Finding:
    """Returns whether images made on the bare classifier break what knows the defence has left.

    Besides those of the evaluation there are new ones, whose margin on the bare classifier is as large as can be.
    Source: Athalye et al. 2018 (Obfuscated gradients), section 3.1; the goal is that of Liu et al. 2017.
    """
    if context.undefended is None:
        return skipped("There is no bare classifier beside the pipeline to make images on.")
    rows = survivors(context, 100)
    attack = replace(transfer(iterated(context.threat), context.undefended), name="transfer-pgd")
    result = unaided(context, attack, rows) if len(rows) else None
    if result is not None and context.static is not None:
        result = result._replace(broken=result.broken | ~context.static[rows])
    found = recheck(context, rows, result)
    message = found.words("what was made on the bare classifier")
    if found.much:
        return failed(message, escalate=all_of(attack, found))
    return passed(message, escalate=all_of(attack, found))
