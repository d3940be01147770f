"""The signature of `evaluate` that goes: it works, and says what to write."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from steelman import attacks, defences
from steelman.data import Images
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import EvaluationOptions
from steelman.norms import Linf
from steelman.pipeline import Pipeline

old: Any = evaluate  # its types are those of today's signature


def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(6, 1, 4, 4, generator=generator), torch.arange(6) % 3, ("a", "b", "c"), "noise test")


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


def test_the_former_signature_gives_the_same_records_and_one_warning() -> None:
    bare, attack, quick = linear(), attacks.pgd(Linf(0.1), steps=3), {"certify": False, "curve": False, "check": False}
    whole, heard = defences.guard(nn.Identity(), bare), list[object]()
    message = r"write evaluate\(Defended\(Pipeline\(classifier, .*EvaluationOptions\(seed=….* progress=…\)"
    with pytest.warns(DeprecationWarning, match=message) as warned:
        before = old(
            whole, images(), attack, undefended=bare, defence="none at all", seed=2, **quick, observe=heard.append
        )
    options = EvaluationOptions(seed=2, **quick)  # type: ignore[arg-type]
    now = evaluate(Pipeline(bare, purifier=nn.Identity(), defence="none at all"), images(), attack, options)
    assert len(warned) == 1
    assert (before.title, before.rows) == (now.title, now.rows)
    assert heard


def test_former_names_of_what_is_given_are_taken() -> None:
    quick = EvaluationOptions(certify=False, curve=False, check=False)
    with pytest.warns(DeprecationWarning, match=r"no longer takes model, images: write evaluate\(pipeline, data, att"):
        found = old(model=linear(), images=images(), attacks=attacks.fgsm(Linf(0.1)), options=quick)
    assert found.title == "model on noise test"


def test_what_it_never_took_is_an_error() -> None:
    with pytest.raises(TypeError, match="radius"):
        old(linear(), images(), attacks.fgsm(Linf(0.1)), radius=1)
