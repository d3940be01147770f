"""What all checks together make of a figure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from steelman.errors import InputError
from steelman.evaluation.checks import catalogue, failed, passed, skipped, verdict
from steelman.records import Trust


def called(name, finding):
    return finding._replace(check=replace(finding.check, name=name))


ALL = tuple(called(name, passed("Fine.")) for name in catalogue.shipped)


def but(*others):
    """Every check passes, but these."""
    named = {finding.check.name: finding for finding in others}
    return tuple(named.get(finding.check.name, finding) for finding in ALL)


def test_a_figure_of_which_all_checks_pass_holds_up():
    assert verdict(ALL, n=100, kept=60).sentence == "figure trusted"


def test_a_failure_that_says_so_makes_it_inflated_with_its_reasons():
    found = but(
        called("black box", failed("Square broke 9 of 48 images.")),
        called("one step", failed("One step broke 3.")),
        called("loss", failed("It falls.", on_fail=Trust.CANNOT_TELL)),
    )
    assert verdict(found, n=20, kept=15).sentence == "figure inflated: one step broke 3; square broke 9 of 48 images"


def test_another_failure_leaves_it_open():
    found = but(called("loss", failed("Over 20 steps it falls.", on_fail=Trust.CANNOT_TELL)))
    assert verdict(found, n=100, kept=60).sentence == "cannot tell: over 20 steps it falls"


@pytest.mark.parametrize("name", ["gradients", "black box"])
def test_what_is_essential_must_have_been_checked(name):
    assert verdict(but(called(name, skipped("No."))), n=100, kept=60).word is Trust.CANNOT_TELL
    assert verdict([one for one in ALL if one.check.name != name], n=100, kept=60).word is Trust.CANNOT_TELL
    assert verdict(but(called("transfer", skipped("No."))), n=100, kept=60).word is Trust.TRUSTED


def test_few_images_say_little():
    assert verdict(ALL, n=50, kept=30).word is Trust.TRUSTED
    assert verdict(ALL, n=49, kept=30).sentence == "cannot tell: there are only 49 images"


def test_a_figure_that_cannot_be_much_too_high_holds_up_whatever_failed():
    found = but(called("black box", failed("Square broke 2 of 5.")))
    assert verdict(found, n=100, kept=5).word is Trust.TRUSTED
    assert verdict(found, n=100, kept=5).reasons == (
        "at 5.0% it cannot be much too high, although these checks failed: black box",
    )
    assert verdict(found, n=100, kept=6).word is Trust.INFLATED
    assert verdict(ALL, n=10, kept=0).sentence == "figure trusted"


def test_what_is_proved_cannot_be_too_high():
    found = but(called("black box", failed("Square broke 2 of 5.")))
    assert verdict(found, n=100, kept=60, proved=55).reasons == (
        "at 60.0%, of which 55.0% are proved, it cannot be much too high, although these checks failed: black box",
    )
    assert verdict(found, n=100, kept=60, proved=54).word is Trust.INFLATED
    assert verdict((), n=100, kept=60, proved=60).sentence == "figure trusted"


def test_records_and_findings_are_read_alike_and_acronyms_keep_their_capitals():
    found = but(called("loss", failed("PGD led nowhere.")))
    checks = [finding.check for finding in found]
    assert verdict(checks, n=100, kept=60) == verdict(found, n=100, kept=60)
    assert verdict(checks, n=100, kept=60).reasons == ("PGD led nowhere",)


@pytest.mark.parametrize(("n", "kept", "proved"), [(0, 0, 0), (10, 11, 0), (10, 3, 4), (10, 3, -1)])
def test_counts_must_be_counts(n, kept, proved):
    with pytest.raises(InputError, match="0 <= proved <= kept <= n"):
        verdict(ALL, n=n, kept=kept, proved=proved)


def test_every_check_has_a_claim_of_its_own():
    claims = [one.claim for one in catalogue.shipped.values()]
    assert all(claim.endswith(".") for claim in claims)
    assert len(set(claims)) == len(claims)
