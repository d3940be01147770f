"""What the evaluation says of the zoo: each broken defence is broken outright or called inflated, no sound one is."""

from __future__ import annotations

import pytest

from steelman.attacks import standard
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.norms import Linf
from steelman.records import Trust

from . import zoo
from .judge import images

pytestmark = pytest.mark.filterwarnings("ignore:the model seems to return probabilities")

QUICK = ("nan-gradient", "probabilities", "undefended-0.3")


def verdict(name: str, n: int) -> tuple[Trust, float]:
    """The word of the verdict, and the share that survives."""
    specimen = zoo[name]
    bare = specimen.undefended() if specimen.undefended is not None else None
    some = images(n)
    options = EvaluationOptions(curve=False, certify=False, pictures=0)
    (case,) = evaluate(Defended(specimen.build(), bare), some, standard(Linf(specimen.eps)), options).cases
    return case.verdict.word, case.kept / case.n


def judged(name: str, n: int) -> None:
    """Fails where a broken defence is believed, or a sound one is not."""
    specimen = zoo[name]
    word, share = verdict(name, n)
    if specimen.sound:
        assert word == Trust.TRUSTED
        assert share == pytest.approx(specimen.truth, abs=0.05)
    else:
        assert word == Trust.INFLATED or share <= specimen.truth + 0.05


@pytest.mark.parametrize("name", QUICK)
def test_some_of_the_zoo_on_few_images(name: str) -> None:
    judged(name, 50)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo)
def test_the_whole_zoo(name: str) -> None:
    judged(name, 100)
