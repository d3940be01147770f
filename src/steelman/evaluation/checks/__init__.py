"""Trust checks: reasons to believe a figure, or not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from steelman.errors import InputError
from steelman.evaluation.checks.answers import evaluation_mode, gives_logits, same_in_any_batch, same_twice
from steelman.evaluation.checks.binarised import binarisation
from steelman.evaluation.checks.black_box_checks import black_box, transferred
from steelman.evaluation.checks.context import CheckContext, Finding
from steelman.evaluation.checks.gradient_quality import gradients, saturation, smoothness
from steelman.evaluation.checks.radii import chance, over_eps, unbounded
from steelman.evaluation.checks.strength import more_steps, one_step
from steelman.evaluation.checks.trajectory import loss
from steelman.evaluation.checks.trust_check import TrustCheck, as_check, failed, passed, skipped
from steelman.evaluation.checks.verdicts import verdict
from steelman.progress import OnProgress, Progress
from steelman.records import CheckOutcome
from steelman.registry import Registry

__all__ = [
    "CheckContext",
    "Finding",
    "TrustCheck",
    "as_check",
    "binarisation",
    "black_box",
    "catalogue",
    "chance",
    "check",
    "evaluation_mode",
    "failed",
    "gives_logits",
    "gradients",
    "loss",
    "more_steps",
    "named",
    "one_step",
    "over_eps",
    "passed",
    "same_in_any_batch",
    "same_twice",
    "saturation",
    "skipped",
    "smoothness",
    "transferred",
    "unbounded",
    "verdict",
]

catalogue: Registry[TrustCheck] = Registry(
    "check",
    {
        "evaluation mode": TrustCheck(
            evaluation_mode, "The model is in evaluation mode, and stays in it when it is told to."
        ),
        "same answer twice": TrustCheck(
            same_twice, "An image gets the same answer twice, or answers are averaged over draws."
        ),
        "same answer in any batch": TrustCheck(
            same_in_any_batch, "An image gets the same answer alone, among others and in another order."
        ),
        "logits": TrustCheck(gives_logits, "The model gives logits, not probabilities, which round to 0 and 1."),
        "gradients": TrustCheck(
            gradients, "Gradients reach the image: on every stage and of the loss, neither none nor zero nor NaN."
        ),
        "saturation": TrustCheck(
            saturation,
            "No softmax that rounds hides a way: an attack on the margin, which it cannot touch, breaks no more.",
        ),
        "smoothness": TrustCheck(
            smoothness, "Gradients are not shattered: they say what a small step does, and are alike a small step away."
        ),
        "loss": TrustCheck(loss, "The loss rises along an iterated attack."),
        "one step": TrustCheck(one_step, "Iterated attacks are no weaker than a single step."),
        "transfer": TrustCheck(
            transferred, "Attacks that know the defence are no weaker than images made on the bare classifier."
        ),
        "more steps": TrustCheck(more_steps, "Twice the steps and starts break no more than the interval allows."),
        "accuracy over eps": TrustCheck(over_eps, "Accuracy does not rise with eps, and falls somewhere."),
        "large eps": TrustCheck(chance, "Where eps makes all images alike, accuracy comes down to that of guessing."),
        "unbounded": TrustCheck(unbounded, "An attack without a bound breaks every image."),
        "black box": TrustCheck(black_box, "Attacks that see gradients are no weaker than a search by scores alone."),
        "binarisation": TrustCheck(
            binarisation, "An attack finds what is certain to be there: a point put on the sphere for it to find."
        ),
    },
    group="steelman.checks",
    check=as_check,
)
"""By name, the simplest first."""

_APART = 104_729
"""What is added to the seed, so that the checks' random starts are not those of the evaluation."""


def check(
    context: CheckContext, progress: OnProgress | None = None, asked: Mapping[str, TrustCheck] | None = None
) -> tuple[Finding, ...]:
    """Returns what checks say of a context, in their order.

    One that the model cannot be asked for, as where it has no gradient or the norm no such attack, is not applicable.
    The model, its modes and torch's generators are as before.
    progress: hears of checks done, those that failed as broken.  asked: checks by name; those that ship unless told.
    """
    own = replace(context, seed=context.seed + _APART)
    asked, found = catalogue.shipped if asked is None else asked, list[Finding]()
    for name, one in asked.items():
        with warnings.catch_warnings():  # that these are no logits is what a check of its own says
            warnings.filterwarnings("ignore", message="the model seems to return probabilities")
            found.append(one.find(name, own))
        if progress is not None:
            broken = sum(finding.check.outcome is CheckOutcome.FAIL for finding in found)
            progress(Progress(len(found), len(asked), broken=broken))
    return tuple(found)


def named(asked: Iterable[str | Callable[..., object]], *, code: bool = False) -> dict[str, TrustCheck]:
    """Returns checks by the names that a report calls them.

    asked: plug-ins by name, or functions of a CheckContext, each called as its own name without underscores.
    code: also take "package.module:name" and "path/to/file.py:name", which run.
    Raises InputError for an unknown name, and for two checks of one name.
    """
    found: dict[str, TrustCheck] = {}
    for each in asked:
        made = getattr(each, "made", each)
        title = each.rpartition(":")[2] if isinstance(each, str) else getattr(made, "__name__", type(made).__name__)
        title = title.replace("_", " ")
        one = catalogue.get(each, code=code) if isinstance(each, str) else as_check(f"the check {title}", each)
        if title in found or title in catalogue.shipped:
            raise InputError(f"expected each check once, got another {title!r}: leave it out, or rename it")
        found[title] = one
    return found
