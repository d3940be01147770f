"""An evaluation as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from steelman.records import Case, CertifiedInterval, Check, CheckOutcome, Evaluation, Row, Sample, Trust, Verdict
from steelman.report import to_markdown

Cases = Callable[..., Case]
Runs = Callable[..., Evaluation]


def test_a_card_has_headline_verdict_tables_failures_and_how_to_rerun(
    case: Cases, row: Callable[..., Row], failed: Check, evaluation: Runs
) -> None:
    good = case(n=1000, clean=990, static=920, kept=713, ci_low=0.684, ci_high=0.741)
    good = replace(good, certified_interval=CertifiedInterval(certified=402, attacked=713))
    bad = replace(good, norm="L2", eps=2.0, verdict=Verdict(word=Trust.INFLATED, reasons=("why",)), checks=(failed,))
    run = evaluation(
        row(),
        cases=(good, replace(bad, certified_interval=CertifiedInterval(certified=None, attacked=713))),
        settings={"command": "steelman evaluate", "config": "eps = 0.3\n"},
        notes=("end",),
    )
    text = to_markdown(run)
    assert "**71.3\u00a0% robust [68.4, 74.1]**. ✓ *Figure trusted*.\n713 of 1,000 MNIST images survive" in text
    assert (
        "\n71.3\u00a0% robust [68.4, 74.1]. ✗ *Figure inflated*: why.\n713 of 1,000 MNIST images seem to survive"
        in text
    )
    assert "| Linf ε 0.30 | 1,000 | 99.0 | 92.0 | 71.3 [68.4, 74.1] | 40.2 | 0 | ✓ figure trusted |" in text
    assert "| L2 ε 2 | 1,000 | 99.0 | 92.0 | 71.3 [68.4, 74.1] | – | 1 | ✗ figure inflated |" in text
    assert "- L2 ε 2, *transfer*: 42 of 713 survivors broke." in text
    assert "### Evaluation" in text
    assert text.endswith("```sh\nsteelman evaluate\n```\n\n```toml\neps = 0.3\n```\n")
    order = [
        text.index(part)
        for part in ("Figure trusted", "### Robustness", "### Checks", "### Evaluation", "- end", "```")
    ]
    assert order == sorted(order)


def test_a_card_without_failures_or_settings_names_none(case: Cases, evaluation: Runs) -> None:
    text = to_markdown(evaluation(cases=(case(),)))
    assert "### Checks that failed" not in text
    assert "### Run it again" not in text


def test_no_name_writes_markup(case: Cases, samples: Callable[..., list[Sample]], evaluation: Runs) -> None:
    name = "<b>|![x](y)\nz"
    hostile = case(
        samples(5),
        dataset=name,
        verdict=Verdict(word=Trust.INFLATED, reasons=(name,)),
        checks=(Check(name=name, claim=name, outcome=CheckOutcome.FAIL, measured=name),),
    )
    text = to_markdown(evaluation(cases=(hostile,), title=name, notes=(name,)))
    assert "<b>" not in text
    assert "](" not in text
    assert all("\nz" not in line for line in (text,))


def test_a_fence_is_longer_than_any_in_the_text(case: Cases, evaluation: Runs) -> None:
    text = to_markdown(evaluation(cases=(case(),), settings={"config": 'name = "````"\n```\n'}))
    assert '`````toml\nname = "````"\n```\n`````\n' in text


def test_a_study_reads_as_before(study: Evaluation) -> None:
    text = to_markdown(study)
    assert "### Robustness" not in text
    assert "```" not in text
