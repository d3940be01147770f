"""The figures of a case side by side, and what lies between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from steelman.records import Case, CertifiedInterval, Fate, Sample
from steelman.report.ladder import contradiction, description, fall, interval, methods, rungs, zones

Cases = Callable[..., Case]
Samples = Callable[..., list[Sample]]


def counted(case: Cases, certified: int | None, attacked: int, clean: int, n: int = 100) -> Case:
    """A case with these counts."""
    return case(
        n=n,
        clean=clean,
        static=clean,
        kept=attacked,
        certified_interval=CertifiedInterval(certified=certified, attacked=attacked),
    )


def test_every_figure_that_there_is_has_a_rung(case: Cases, samples: Samples) -> None:
    full = rungs(counted(case, 40, 71, 99))
    assert [(rung.kind, rung.count, rung.percent) for rung in full] == [
        ("clean", 99, 99.0),
        ("static", 99, 99.0),
        ("adaptive", 71, 71.0),
        ("certified", 40, 40.0),
    ]
    assert [bool(rung.interval) for rung in full] == [False, False, True, False]
    bare = case(samples(50, defended=False, proved=False), worst=3)
    assert [rung.kind for rung in rungs(bare)] == ["clean", "adaptive", "repeated"]
    assert description(counted(case, 40, 71, 99)).startswith("clean 99.0\u00a0%, static 99.0")


@pytest.mark.parametrize(
    ("certified", "attacked", "clean", "ends"),
    [
        (40, 71, 99, {Fate.CERTIFIED: 40, Fate.SURVIVED: 31, Fate.BROKEN: 28, Fate.MISCLASSIFIED: 1}),
        (None, 71, 99, {Fate.SURVIVED: 71, Fate.BROKEN: 28, Fate.MISCLASSIFIED: 1}),
        (0, 0, 100, {"broken": 100}),
        (100, 100, 100, {Fate.CERTIFIED: 100}),
        (0, 0, 0, {Fate.MISCLASSIFIED: 100}),
        (80, 71, 99, {Fate.CERTIFIED: 71, Fate.BROKEN: 28, Fate.MISCLASSIFIED: 1}),
    ],
)
def test_every_image_comes_to_one_end(
    certified: int | None, attacked: int, clean: int, ends: dict[str, int], case: Cases
) -> None:
    found = zones(counted(case, certified, attacked, clean))
    assert {zone.kind: zone.count for zone in found} == ends
    assert sum(zone.percent for zone in found) == pytest.approx(100)


def test_more_proved_than_survives_is_called_out(case: Cases) -> None:
    assert contradiction(counted(case, 71, 71, 99)) == ""
    assert contradiction(counted(case, None, 71, 99)) == ""
    assert "72 images are said to be proved and only 71 survive" in contradiction(counted(case, 72, 71, 99))


def test_what_the_truth_lies_between_reads_as_an_interval(case: Cases) -> None:
    assert interval(counted(case, 40, 71, 99)) == "[40.0, 71.0]"
    assert methods(
        case(certified_interval=CertifiedInterval(certified=3, attacked=5, methods=(("ibp", 1000), ("crown", 2))))
    ) == ("ibp 1,000, crown 2")


def test_what_knowing_the_defence_costs_is_told(case: Cases, samples: Samples) -> None:
    assert fall(case(n=100, static=92, kept=2)).startswith("90.0 points of the static figure")
    assert "no more than the one who does not" in fall(case(n=100, static=50, kept=50))
    assert fall(case(samples(10, defended=False))) == ""
