"""What a notebook shows of an evaluation."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from steelman.records import Case, Evaluation, Sample, Verdict

Cases = Callable[..., Case]
Runs = Callable[..., Evaluation]
HOSTILE = "<script>alert(1)</script>\"'&"


def card(evaluation: Evaluation) -> str:
    """What a notebook is handed."""
    text = evaluation._repr_html_()
    assert text is not None
    return text


def test_a_card_has_headline_verdict_table_and_curve(
    case: Cases, evaluation: Runs, outline: Callable[[str], Any]
) -> None:
    bad = case(norm="L2", verdict=Verdict(word="inflated", reasons=("why",)))
    text = card(evaluation(cases=(case(), bad, case(norm="none", eps=0.0, curve=None))))
    whole = outline(text)
    assert whole.open == []
    assert whole.tags[0] == ("div", {"class": "steelman-card"})
    assert "✗</span> <strong>inflated</strong>: <bdi>why</bdi>" in text
    assert "survive every attack" in text
    assert text.count("<svg ") == 2
    assert text.count("<tr>") == 4
    assert not {"script", "link", "img"} & {tag for tag, _ in whole.tags}


def test_its_styles_hold_for_nothing_else(case: Cases, evaluation: Runs) -> None:
    (sheet,) = re.findall(r"<style>(.*?)</style>", card(evaluation(cases=(case(),))), flags=re.DOTALL)
    selectors = re.findall(r"([^{};]+)\{", sheet)
    assert len(selectors) > 10
    for selector in selectors:
        for one in selector.split(","):
            assert one.strip().startswith((".steelman-card", "@media (prefers-color-scheme")), one


def test_cards_of_one_notebook_share_no_id(case: Cases, samples: Callable[..., list[Sample]], evaluation: Runs) -> None:
    cards = (card(evaluation(cases=(case(),))), card(evaluation(cases=(case(samples(100)), case()))))
    first, second = (set(re.findall(r'\bid="([^"]*)"', text)) for text in cards)
    assert first
    assert not first & second


def test_names_from_outside_stay_text(case: Cases, evaluation: Runs) -> None:
    hostile = case(dataset=HOSTILE, verdict=Verdict(word="inflated", reasons=(HOSTILE,)))
    assert "<script" not in card(evaluation(cases=(hostile,), title=HOSTILE))


def test_a_study_has_a_card_too(study: Evaluation) -> None:
    text = card(study)
    assert "Once the attacker knows unet" in text
    assert len(text) < 20_000


def test_without_the_extra_a_notebook_falls_back_to_one_line(
    case: Cases, evaluation: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    run = evaluation(cases=(case(),))
    assert run._repr_html_() is None
    assert repr(run) == "<Evaluation 'A run', rows: 0, cases: 1, Linf 0.3 holds up>"
