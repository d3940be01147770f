"""What all checks together make of a figure."""

from __future__ import annotations

from collections.abc import Iterable

from steelman.errors import InputError
from steelman.evaluation.checks.context import Finding
from steelman.records import Check, CheckOutcome, Trust, Verdict

LOW = 0.05
"""A figure that cannot be too high by more than this is trusted whatever the checks say."""

FEW = 50
"""Images below which a figure says little."""

ESSENTIAL = ("gradients", "black box")
"""Checks without which nobody can tell."""


def verdict(found: Iterable[Finding | Check], *, n: int, kept: int, proved: int = 0) -> Verdict:
    """Returns whether a figure can be trusted: kept / n, after all that the checks called for.

    It is inflated where a check that says so failed. Nobody can tell where another check failed, an essential one had
    no meaning, or there are fewer than 50 images. At most .05 more than what is proved is trusted in any case.
    found: the checks, or their findings.  n: images.  kept: survivors among them, proved: of whom it is certain.
    Raises InputError unless 0 <= proved <= kept <= n and n >= 1.
    """
    if not 0 <= proved <= kept <= n or n < 1:
        raise InputError(f"expected 0 <= proved <= kept <= n and n >= 1, got {proved} and {kept} of {n}")
    checks = [one.check if isinstance(one, Finding) else one for one in found]
    failed = [check for check in checks if check.outcome is CheckOutcome.FAIL]
    if kept - proved <= LOW * n:
        message = f"at {kept / n:.1%}" + (f", of which {proved / n:.1%} are proved," if proved else "")
        return Verdict(word=Trust.TRUSTED, reasons=_close(message, [check.name for check in failed]))
    inflated = [check for check in failed if check.on_fail is Trust.INFLATED]
    if inflated:
        return Verdict(word=Trust.INFLATED, reasons=tuple(_clause(check) for check in inflated))
    unsure = [_clause(check) for check in failed]
    made = {check.name for check in checks if check.outcome is not CheckOutcome.NOT_APPLICABLE}
    unsure += [f"the check of {name} could not be made" for name in ESSENTIAL if name not in made]
    if n < FEW:
        unsure.append(f"there are only {n} images")
    return Verdict(word=Trust.CANNOT_TELL, reasons=tuple(unsure)) if unsure else Verdict(word=Trust.TRUSTED)


def _close(message: str, failed: list[str]) -> tuple[str, ...]:
    if not failed:
        return ()
    names = ", ".join(failed)
    return (f"{message} it cannot be much too high, although these checks failed: {names}",)


def _clause(check: Check) -> str:
    """What was measured, as it follows a colon: no capital at its beginning, no stop at its end."""
    said = check.measured.rstrip(".")
    return said[:1].lower() + said[1:] if said[1:2].islower() or said[1:2] == " " else said
