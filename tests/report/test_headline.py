"""The headline of a case and its verdict."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from steelman.records import Case, CertifiedInterval, Check, CheckOutcome, Curve, Evaluation, Sample, Trust, Verdict
from steelman.report import summary
from steelman.report.headline import openings, tally

Cases = Callable[..., Case]
Runs = Callable[..., Evaluation]
Samples = Callable[..., list[Sample]]
INFLATED = Verdict(word=Trust.INFLATED, reasons=("transfer broke 42", "more steps took 3 points"))
UNSURE = Verdict(word=Trust.CANNOT_TELL, reasons=("no gradient",))


def test_a_figure_that_is_trusted_is_told_in_one_sentence(case: Cases, evaluation: Runs) -> None:
    (opening,) = openings(evaluation(cases=(case(n=1000, kept=713, ci_low=0.684, ci_high=0.741),)))
    assert opening.headline == (
        "713 of 1,000 MNIST images survive every attack through the whole pipeline, at Linf ε 0.30"
    )
    assert opening.fate == "71.3\u00a0% robust [68.4, 74.1]"
    assert (opening.sign, opening.tone, opening.reasons) == ("✓", "sound", "")


@pytest.mark.parametrize(("verdict", "sign", "tone"), [(INFLATED, "✗", "inflated"), (UNSURE, "?", "unsure")])
def test_any_other_figure_only_seems_to_say_it(
    verdict: Verdict, sign: str, tone: str, case: Cases, evaluation: Runs
) -> None:
    (opening,) = openings(evaluation(cases=(case(verdict=verdict),)))
    assert "images seem to survive" in opening.headline
    assert (opening.sign, opening.tone) == (sign, tone)
    assert "Do not quote this figure" in opening.caveat


def test_one_image_reads_as_one(case: Cases, samples: Samples, evaluation: Runs) -> None:
    (sure, doubted) = openings(evaluation(cases=(case(samples(1)), case(samples(1), verdict=INFLATED))))
    assert "of 1 MNIST image survives every" in sure.headline
    assert "of 1 MNIST image seems to survive every" in doubted.headline


def test_what_is_attacked_is_named(case: Cases, samples: Samples, evaluation: Runs) -> None:
    bare, free = openings(
        evaluation(cases=(case(samples(20, defended=False), norm="L2", eps=2.0), case(norm="none", eps=0.0)))
    )
    assert bare.headline.endswith("every attack on the classifier, at L2 ε 2")
    assert bare.oblivious == ""
    assert "outside any ball" in free.headline
    assert "ε" not in free.headline
    assert "that is no robustness" in free.oblivious


def test_no_more_than_chance_is_no_praise(case: Cases, evaluation: Runs) -> None:
    curve = Curve(points=((0.0, 0.9, 0.8, 1.0),), chance=0.1135, median=None)
    cases = [case(n=1000, kept=kept, curve=curve) for kept in (113, 114)] + [case(kept=0, curve=None)]
    told = ["the model cannot" in opening.caveat for opening in openings(evaluation(cases=tuple(cases)))]
    assert told == [True, False, True]


@pytest.mark.parametrize("verdict", [INFLATED, UNSURE])
def test_nothing_can_be_lower_than_nothing(verdict: Verdict, case: Cases, evaluation: Runs) -> None:
    (opening,) = openings(evaluation(cases=(case(kept=0, verdict=verdict),)))
    assert opening.caveat == "Nothing survives, so no better attack could lower this figure."
    assert "images survive every attack" in opening.headline


def test_where_checks_failed_what_is_proved_bounds_the_doubt(case: Cases, failed: Check, evaluation: Runs) -> None:
    interval = CertifiedInterval(certified=700, attacked=713)
    (opening,) = openings(evaluation(cases=(case(n=1000, kept=713, certified_interval=interval, checks=(failed,)),)))
    assert (
        opening.caveat == "Checks failed, yet no better attack could take more than 1.3\u00a0% of the images from it."
    )


def test_a_figure_that_nobody_checked_is_not_called_sound(case: Cases, evaluation: Runs) -> None:
    (opening,) = openings(evaluation(cases=(case(checks=()),)))
    assert opening.checked == ""
    assert opening.caveat.startswith("No check was made")


def test_checks_that_do_not_apply_count_as_nothing(case: Cases, failed: Check, evaluation: Runs) -> None:
    passed = replace(failed, outcome=CheckOutcome.PASS)
    idle = replace(failed, outcome=CheckOutcome.NOT_APPLICABLE)
    cases = (case(checks=(passed, idle)), case(checks=(passed,) * 3), case(checks=(idle, failed, passed)))
    told = [opening.checked for opening in openings(evaluation(cases=cases))]
    assert told == [
        "the one check that applies was passed",
        "all 3 checks that apply were passed",
        "1 of 2 checks failed",
    ]


def test_what_is_proved_is_told(case: Cases, evaluation: Runs) -> None:
    intervals = (
        CertifiedInterval(certified=100, attacked=120),
        CertifiedInterval(certified=0, attacked=120),
        CertifiedInterval(certified=None, attacked=120, why="a stage without bounds."),
        CertifiedInterval(certified=None, attacked=120),
    )
    told = [o.proved for o in openings(evaluation(cases=tuple(case(certified_interval=one) for one in intervals)))]
    assert told == [
        "Proved: no attack whatever brings this below 50.0\u00a0%.",
        "No image could be proved.",
        "Nothing is proved. A stage without bounds.",
        "Nothing is proved.",
    ]


def test_titles_tell_cases_apart(case: Cases, evaluation: Runs) -> None:
    alike = evaluation(cases=(case(), case(norm="L2", eps=8 / 255), case(norm="L0", eps=10)))
    assert [opening.title for opening in openings(alike)] == ["Linf ε 0.30", "L2 ε 8/255", "L0 ε 10"]
    mixed = evaluation(cases=(case(), case(defence="none", dataset="fashion-mnist")))
    assert [opening.title for opening in openings(mixed)] == [
        "MNIST · unet · Linf ε 0.30",
        "Fashion-MNIST · no defence · Linf ε 0.30",
    ]


def test_verdicts_are_counted(case: Cases, evaluation: Runs) -> None:
    run = evaluation(cases=(case(), case(), case(verdict=INFLATED), case(verdict=UNSURE)))
    assert tally(run) == "4 figures: 2 are trusted, 1 is inflated and 1 is in doubt."
    assert tally(evaluation()) == ""


def test_the_terminal_gets_figure_verdict_proofs_and_failures(case: Cases, failed: Check, evaluation: Runs) -> None:
    x_adv = case(verdict=INFLATED, checks=(failed,), worst=50, classifier="x")
    lines = summary(evaluation(cases=(x_adv, case())))
    assert re.fullmatch(
        r"[\d.]+ % robust \[[\d., ]+\]. ✗ Figure inflated: transfer broke 42; more steps took 3 points.", lines[0]
    )
    assert "seem to survive" in lines[1]
    assert lines[2] == "  Do not quote this figure: the truth is lower."
    assert "of 25.0 % each of several answers" in lines[3]
    assert lines[4].startswith("  Proved: no attack whatever")
    assert lines[5] == "  ✗ check failed: transfer: 42 of 713 survivors broke."
    assert lines[6].endswith("✓ Figure trusted.")
    assert lines[8].startswith("  No check found")
    assert summary(evaluation()) == []


def test_a_terminal_obeys_no_name(case: Cases, evaluation: Runs) -> None:
    lines = summary(evaluation(cases=(case(dataset="\x1b[31mred\nline\u202e"),)))
    assert all(line.isprintable() for line in lines)
    assert "[31mred line images" in lines[1]
