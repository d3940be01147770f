"""Trust checks: reasons to believe a figure, or not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

from steelman.attacks import Progress
from steelman.errors import InputError
from steelman.evaluation.checks.answers import evaluation_mode, gives_logits, same_in_any_batch, same_twice
from steelman.evaluation.checks.binarised import binarisation
from steelman.evaluation.checks.black_box_checks import black_box, transferred
from steelman.evaluation.checks.claims import claims
from steelman.evaluation.checks.claims import skipped as _skipped
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.gradient_quality import gradients, saturation, smoothness
from steelman.evaluation.checks.radii import chance, over_eps, unbounded
from steelman.evaluation.checks.strength import more_steps, one_step
from steelman.evaluation.checks.trajectory import loss
from steelman.evaluation.checks.verdicts import verdict
from steelman.evaluation.measure import Observer
from steelman.records import CheckOutcome
from steelman.registry import Registry

__all__ = [
    "CheckContext",
    "Finding",
    "binarisation",
    "black_box",
    "catalogue",
    "chance",
    "check",
    "claims",
    "evaluation_mode",
    "gives_logits",
    "gradients",
    "loss",
    "more_steps",
    "one_step",
    "over_eps",
    "same_in_any_batch",
    "same_twice",
    "saturation",
    "smoothness",
    "transferred",
    "unbounded",
    "verdict",
]

catalogue: Registry[Callable[[CheckContext], Finding]] = Registry(
    "check",
    {
        "evaluation mode": evaluation_mode,
        "same answer twice": same_twice,
        "same answer in any batch": same_in_any_batch,
        "logits": gives_logits,
        "gradients": gradients,
        "saturation": saturation,
        "smoothness": smoothness,
        "loss": loss,
        "one step": one_step,
        "transfer": transferred,
        "more steps": more_steps,
        "accuracy over eps": over_eps,
        "large eps": chance,
        "unbounded": unbounded,
        "black box": black_box,
        "binarisation": binarisation,
    },
    group="steelman.checks",
)
"""By name, the simplest first."""

_APART = 104_729
"""What is added to the seed, so that the checks' random starts are not those of the evaluation."""


def check(context: CheckContext, observe: Observer | None = None) -> tuple[Finding, ...]:
    """Returns what every check of the catalogue says of a context, in its order.

    One that the model cannot be asked for, as where it has no gradient or the norm no such attack, is not applicable.
    The model, its modes and torch's generators are as before.
    observe: hears of checks done, those that failed as broken.
    """
    own = replace(context, seed=context.seed + _APART)
    found: list[Finding] = []
    for name in catalogue:
        found.append(_made(name, own))
        if observe is not None:
            failed = sum(finding.check.outcome is CheckOutcome.FAIL for finding in found)
            observe(Progress(len(found), len(catalogue), failed))
    return tuple(found)


def _made(name: str, context: CheckContext) -> Finding:
    with warnings.catch_warnings():  # that these are no logits is what a check of its own says
        warnings.filterwarnings("ignore", message="the model seems to return probabilities")
        try:
            return catalogue[name](context)
        except InputError as error:
            said = str(error)
            return _skipped(name, f"{said[:1].upper()}{said[1:]}.")
