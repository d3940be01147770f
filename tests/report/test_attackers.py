"""Which attack broke what, at what cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from steelman.records import Breaker, Case
from steelman.report.attackers import attempts, cost, hardest

Cases = Callable[..., Case]
Breakers = Callable[..., Breaker]


def test_an_attempt_is_drawn_as_a_share_of_all_images(case: Cases, breaker: Breakers) -> None:
    known = (breaker("pgd", tried=150, broke=30, seconds=75.0), breaker("late", tried=900, broke=0))
    first, second = attempts(case(breakers=known))
    assert (first.attack, first.tried, first.broke, first.seconds) == ("PGD", "150", "30", "1 min 15 s")
    assert (first.reach, first.share) == (75.0, 15.0)
    assert (second.reach, second.share) == (100.0, 0.0)


def test_the_hardest_is_an_attack_that_knows_the_pipeline(case: Cases, breaker: Breakers) -> None:
    known = (
        breaker("static", protocol="static", broke=90),
        breaker("pgd", broke=20),
        breaker("square", broke=5),
    )
    name, said = hardest(case(n=100, clean=95, kept=70, breakers=known))
    assert name == "PGD"
    assert said == (
        "broke most: 20 of the 25 images broken by attackers who know the pipeline. "
        "An attack is made on what those before it did not break."
    )
    assert hardest(case(n=100, clean=95, kept=95, breakers=known[:1])) == ("", "No attack broke anything.")


def test_images_that_others_broke_are_accounted_for(case: Cases, breaker: Breakers) -> None:
    """What breaks at a smaller eps is never tried again, and stands in no line of the table."""
    name, said = hardest(case(n=100, clean=95, kept=60, breakers=(breaker("pgd", broke=20),)))
    assert name == "PGD"
    assert "15 images more are known to break by what others found" in said
    none, all_said = hardest(case(n=100, clean=95, kept=94, breakers=(breaker("pgd", tried=0, broke=0),)))
    assert none == ""
    assert all_said.startswith("1 image is known to break by what others found")


def test_parts_of_a_cascade_are_named_without_it(case: Cases, breaker: Breakers) -> None:
    parts = (("standard/climb", 1295), ("standard/fab", 3))
    static, known = attempts(
        case(breakers=(breaker("x", through="", protocol="static"), breaker("standard", parts=parts)))
    )
    assert known.parts == "climb 1,295, fab 3"
    assert (static.parts, static.through) == ("", "the bare classifier")


@pytest.mark.parametrize(
    ("spent", "full", "percent", "said"),
    [(200, 1000, 20.0, "20.0 % of what"), (1000, 1000, 100.0, "Nothing was spared"), (5, 0, None, "")],
)
def test_what_was_spent_stands_against_everything(
    spent: int, full: int, percent: float | None, said: str, case: Cases, breaker: Breakers
) -> None:
    found = cost(case(n=100, spent=spent, full=full, breakers=(breaker("a", seconds=30.0), breaker("b", seconds=40.0))))
    assert found.percent == percent
    assert found.saved.startswith(said)
    assert found.seconds == "1 min 10 s"
    assert (found.forwards, found.backwards) == ("246,912", "130,864")
