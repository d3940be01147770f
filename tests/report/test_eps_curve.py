"""Accuracy against ε, with what was asked for and what is proved there."""

from __future__ import annotations

from collections.abc import Callable

from steelman.records import Case, CertifiedInterval, Curve
from steelman.report.eps_curve import description, keys, points, svg, table

Cases = Callable[..., Case]
CURVE = Curve(points=((0.0, 1.0, 0.9, 1.0), (0.1, 0.5, 0.4, 0.6), (0.2, 0.1, 0.0, 0.2)), chance=0.12, median=0.1)


def test_the_points_are_sorted_and_lie_somewhere() -> None:
    odd = (*CURVE.points[::-1], (float("inf"), 0.0, 0.0, 0.0), (0.3, float("nan"), 0.0, 0.0))
    assert points(Curve(points=odd, chance=0.1, median=None)) == CURVE.points


def test_the_legend_names_what_is_drawn(case: Cases) -> None:
    drawn = case(n=100, kept=30, curve=CURVE, certified_interval=CertifiedInterval(certified=20, attacked=30))
    assert [key.kind for key in keys(drawn)] == ["curve", "threat", "chance", "median", "proved"]
    assert "where attacks leave 30.0\u00a0%" in keys(drawn)[1].text
    assert "median distance 0.1:" in description(drawn)
    assert "100.0\u00a0% at ε 0.00, 50.0\u00a0% at ε 0.10 and 10.0\u00a0% at ε 0.20" in description(drawn)
    plain = Curve(points=CURVE.points, chance=0.1, median=None)
    few = case(curve=plain, certified_interval=CertifiedInterval(certified=None, attacked=30))
    assert [key.kind for key in keys(few)] == ["curve", "threat", "chance"]


def test_no_curve_no_drawing(case: Cases) -> None:
    for nothing in (None, Curve(points=(), chance=0.1, median=None)):
        assert svg(case(curve=nothing), "x") == ""
        assert table(case(curve=nothing)) is None
    assert keys(case(curve=None)) == ()


def test_one_point_is_a_drawing_too(case: Cases) -> None:
    single = Curve(points=CURVE.points[:1], chance=0.1, median=None)
    assert svg(case(curve=single, eps=0.0), "x").startswith("<svg")


def test_ten_thousand_points_make_no_larger_a_drawing(case: Cases) -> None:
    many = tuple((i / 10_000, 1 - i / 10_000, 0.0, 1.0) for i in range(10_001))
    large = case(curve=Curve(points=many, chance=0.1, median=0.5))
    assert len(svg(large, "x")) < 60_000
    listed = table(large)
    assert listed is not None
    assert len(listed.rows) == 12
    assert (listed.rows[0][0], listed.rows[-1][0]) == ("0", "1")


def test_a_drawing_styles_nothing_around_it(case: Cases) -> None:
    drawing = svg(case(), "mine")
    assert "<style" not in drawing
    assert 'style="stroke-linejoin: round; stroke-linecap: butt"' in drawing
    assert drawing.count('id="') == drawing.count('id="mine-')
    assert "var(--series-1)" in drawing
    assert svg(case(), "mine") == drawing
