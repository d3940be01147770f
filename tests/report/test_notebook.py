"""What a notebook shows of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from steelman.records import Case, Evaluation, Sample, Trust, Verdict
from steelman.report import to_card

Cases = Callable[..., Case]
Runs = Callable[..., Evaluation]
HOSTILE = "<script>alert(1)</script>\"'&"


def test_a_card_has_headline_verdict_table_and_curve(
    case: Cases, evaluation: Runs, outline: Callable[[str], Any]
) -> None:
    bad = case(norm="L2", verdict=Verdict(word=Trust.INFLATED, reasons=("why",)))
    text = to_card(evaluation(cases=(case(), bad, case(norm="none", eps=0.0, curve=None))))
    whole = outline(text)
    assert whole.open == []
    assert whole.tags[0] == ("div", {"class": "steelman-card"})
    assert "✗</span> <strong>Figure inflated</strong>: <bdi>why</bdi>" in text
    assert "survive every attack" in text
    assert text.count("<svg ") == 2
    assert text.count("<tr>") == 4
    assert not {"script", "link", "img"} & {tag for tag, _ in whole.tags}


def test_its_styles_hold_for_nothing_else(case: Cases, evaluation: Runs) -> None:
    (sheet,) = re.findall(r"<style>(.*?)</style>", to_card(evaluation(cases=(case(),))), flags=re.DOTALL)
    selectors = re.findall(r"([^{};]+)\{", sheet)
    assert len(selectors) > 10
    for selector in selectors:
        for one in selector.split(","):
            assert one.strip().startswith((".steelman-card", "@media (prefers-color-scheme")), one


def test_cards_of_one_notebook_share_no_id(case: Cases, samples: Callable[..., list[Sample]], evaluation: Runs) -> None:
    cards = (to_card(evaluation(cases=(case(),))), to_card(evaluation(cases=(case(samples(100)), case()))))
    first, second = (set(re.findall(r'\bid="([^"]*)"', text)) for text in cards)
    assert first
    assert not first & second


def test_names_from_outside_stay_text(case: Cases, evaluation: Runs) -> None:
    hostile = case(dataset=HOSTILE, verdict=Verdict(word=Trust.INFLATED, reasons=(HOSTILE,)))
    assert "<script" not in to_card(evaluation(cases=(hostile,), title=HOSTILE))


def test_a_study_has_a_card_too(study: Evaluation) -> None:
    text = to_card(study)
    assert "Once the attacker knows unet" in text
    assert len(text) < 20_000
