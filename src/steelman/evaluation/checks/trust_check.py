"""A trust check, and the three ways for one to end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from steelman.attacks import AttackLike
from steelman.errors import InputError
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.records import Check, CheckOutcome, Trust
from steelman.registry import called, told


@dataclass(frozen=True)
class TrustCheck:
    """A trust check of the catalogue.

    made: looks at what it is given and says what it found, by `passed`, `failed` or `skipped`.
    claim: what holds of an honest figure, in a sentence.
    """

    made: Callable[[CheckContext], Finding]
    claim: str

    def __call__(self, context: CheckContext) -> Finding:
        """Returns what it found, without a name."""
        return self.made(context)

    def find(self, name: str, context: CheckContext) -> Finding:
        """Returns what it found, by its name.

        One that the model cannot be asked for, as where it has no gradient or the norm no such attack, is not
        applicable; nor is one of somebody else's that breaks down.
        """
        try:
            found = self.made(context)
        except InputError as error:
            found = skipped(f"{str(error)[:1].upper()}{str(error)[1:]}.")
        except Exception as error:
            if self.made.__module__.startswith("steelman."):
                raise
            found = skipped(f"It broke down: {told(error)}.")
        return found._replace(check=replace(found.check, name=name, claim=self.claim))


def as_check(what: str, found: object) -> TrustCheck:
    """Returns a check of the catalogue as it came, and a function as one whose docstring's first line is its claim.

    what: whose it is, as an error calls it.  Raises InputError for anything else.
    """
    if isinstance(found, TrustCheck):
        return found
    said = (inspect.getdoc(called(what, found)) or "").partition("\n")[0]
    return TrustCheck(found, said)  # type: ignore[arg-type]


def passed(measured: str, *, escalate: Sequence[AttackLike] = ()) -> Finding:
    """Returns that a claim was held against numbers, and stands.

    measured: what was found, with its numbers, in a sentence.  escalate: attacks to make on all survivors all the same.
    """
    return Finding(Check(name="", claim="", outcome=CheckOutcome.PASS, measured=measured), tuple(escalate))


def failed(measured: str, *, on_fail: Trust = Trust.INFLATED, escalate: Sequence[AttackLike] = ()) -> Finding:
    """Returns that a claim does not stand, what that makes of the figure, and what to attack with because of it."""
    return Finding(
        Check(name="", claim="", outcome=CheckOutcome.FAIL, measured=measured, on_fail=on_fail), tuple(escalate)
    )


def skipped(why: str) -> Finding:
    """Returns that a claim has no meaning for this pipeline, and why."""
    return Finding(Check(name="", claim="", outcome=CheckOutcome.NOT_APPLICABLE, measured=why))
