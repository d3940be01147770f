"""What holds of an honest figure, check by check, and the three paths for a check to end."""

from __future__ import annotations

from collections.abc import Sequence

from steelman.attacks import AnyAttack
from steelman.evaluation.checks.context import Finding
from steelman.records import Check, CheckOutcome, Trust

claims: dict[str, str] = {
    "evaluation mode": "The model is in evaluation mode, and stays in it when it is told to.",
    "same answer twice": "An image gets the same answer twice, or answers are averaged over draws.",
    "same answer in any batch": "An image gets the same answer alone, among others and in another order.",
    "logits": "The model gives logits, not probabilities, which round to 0 and 1.",
    "gradients": "Gradients reach the image: on every stage and of the loss, neither none nor zero nor NaN.",
    "saturation": "No softmax that rounds hides a way: an attack on the margin, which it cannot touch, breaks no more.",
    "smoothness": "Gradients are not shattered: they say what a small step does, and are alike a small step away.",
    "loss": "The loss rises along an iterated attack.",
    "one step": "Iterated attacks are no weaker than a single step.",
    "transfer": "Attacks that know the defence are no weaker than images made on the bare classifier.",
    "more steps": "Twice the steps and starts break no more than the interval allows.",
    "accuracy over eps": "Accuracy does not rise with eps, and falls somewhere.",
    "large eps": "Where eps makes all images alike, accuracy comes down to that of guessing.",
    "unbounded": "An attack without a bound breaks every image.",
    "black box": "Attacks that see gradients are no weaker than a search by scores alone.",
    "binarisation": "An attack finds what is certain to be there: a point put on the sphere for it to find.",
}


def passed(name: str, measured: str) -> Finding:
    """Returns that a claim was held against numbers, and stands."""
    return Finding(Check(name=name, claim=claims[name], outcome=CheckOutcome.PASS, measured=measured))


def failed(name: str, measured: str, *, on_fail: Trust = Trust.INFLATED, escalate: Sequence[AnyAttack] = ()) -> Finding:
    """Returns that a claim does not stand, what that makes of the figure, and what to attack with because of it."""
    check = Check(name=name, claim=claims[name], outcome=CheckOutcome.FAIL, measured=measured, on_fail=on_fail)
    return Finding(check, tuple(escalate))


def skipped(name: str, why: str) -> Finding:
    """Returns that a claim has no meaning for this pipeline, and why."""
    return Finding(Check(name=name, claim=claims[name], outcome=CheckOutcome.NOT_APPLICABLE, measured=why))
