"""The two grids of robustness: what holds, and one purifier against everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from steelman.records import WORST, Evaluation, Row
from steelman.report import tables, to_html
from steelman.report.curves import charts
from steelman.report.findings import collapses, headlines
from steelman.report.static_vs_adaptive import arenas
from steelman.report.warnings_shown import claims
from steelman.studies.unseen_attacks import NEVER_SEEN

Rows = Callable[..., Row]
Runs = Callable[..., Evaluation]


def four(row: Rows, defence: str, *shares: float, **changes: Any) -> list[Row]:
    clean, static, adaptive, certified = shares
    known = {"table": "holds", "defence": defence, "eps": 0.3} | changes
    return [
        row(**(known | {"attack": "none", "eps": 0.0, "accuracy": clean})),
        row(**known, attack="pgd", accuracy=static),
        row(**known, attack=WORST, protocol="adaptive", accuracy=adaptive),
        row(**known, attack=WORST, protocol="certified", accuracy=certified, note="" if certified else "Why."),
    ]


def test_a_line_of_what_holds_is_a_defence(row: Rows, evaluation: Runs) -> None:
    rows = [*four(row, "none", 0.99, 0.0, 0.0, 0.0), *four(row, "robust-autoencoder", 0.98, 0.97, 0.9, 0.85)]
    (table,) = tables(evaluation(*rows))
    assert table.headers == ("Defence", "clean", "static, PGD at ε 0.30", "adaptive worst", "certified")
    assert [line[0] for line in table.rows] == ["no defence", "robust-autoencoder"]
    assert table.rows[1][3].startswith("90.00 [")
    assert table.rows[0][4].endswith("¹")
    assert table.notes == ("¹ Why.",)
    assert table.caption.startswith("Linf ε 0.30. ")
    assert "Protocol" not in table.caption
    (arena,) = arenas(evaluation(*rows))
    assert [duel.proved for duel in arena.duels] == [85.0, None]
    page = to_html(evaluation(*rows))
    assert "robust-autoencoder (cnn): 98 % clean, 97 % unknown, 90 % known, 85 % proved" in page
    assert "no change inside the ball, by whatever attack" in page
    assert charts(evaluation(*rows)) == ()


def test_a_fall_to_the_worst_case_is_told_where_no_single_attack_tells_it(row: Rows, evaluation: Runs) -> None:
    rows = four(row, "unet", 0.99, 0.9, 0.1, 0.0)
    assert "worst of all at ε 0.30 from 90.0" in collapses(evaluation(*rows))[0]
    single = row(table="holds", defence="unet", eps=0.3, protocol="adaptive", accuracy=0.2)
    (told,) = collapses(evaluation(*rows, single))
    assert "PGD at ε 0.30 from 90.0" in told
    assert "worst" not in told


def test_the_headline_is_of_our_own_best_defence(row: Rows, evaluation: Runs) -> None:
    rows = [*four(row, "unet", 0.99, 0.9, 0.0, 0.0), *four(row, "robust-autoencoder", 0.98, 0.8, 0.7, 0.0)]
    (headline,) = headlines(evaluation(*rows))
    assert headline.defended is not None
    assert (headline.defended.defence, headline.defended.protocol) == ("robust-autoencoder", "static")
    assert headline.adaptive is not None
    assert headline.adaptive.accuracy == 0.7


@pytest.mark.parametrize(("proved", "fails"), [(0.5, 0), (0.51, 1)])
def test_no_more_is_proved_than_attacks_leave(proved: float, fails: int, row: Rows, evaluation: Runs) -> None:
    (claim,) = [c for c in claims(evaluation(*four(row, "unet", 0.9, 0.8, 0.5, proved))) if "proved" in c.claim]
    assert len(claim.failures) == fails
    assert claim.compared == 1


def breadth(row: Rows, defence: str, *shares: float) -> list[Row]:
    known = {"table": "breadth", "defence": defence, "protocol": "adaptive"}
    clean, near, far, round_, worst = shares
    return [
        row(**known, attack="none", eps=0.0, accuracy=clean),
        row(**known, eps=0.1, accuracy=near, seen=True, note="40 steps"),
        row(**known, eps=0.3, accuracy=far, seen=True, note="40 steps"),
        row(**known, attack="apgd", eps=0.3, accuracy=far, seen=False, note="100 steps"),
        row(**known, attack="apgd", eps=2.0, norm="L2", accuracy=round_, seen=False, note="40 steps"),
        row(**known, attack=NEVER_SEEN, eps=0.0, norm="none", accuracy=worst, seen=False, note="each of these"),
    ]


def test_a_line_of_breadth_is_an_attack(row: Rows, evaluation: Runs) -> None:
    rows = [
        *breadth(row, "none", 0.99, 0.1, 0.0, 0.2, 0.0),
        *breadth(row, "robust-autoencoder", 0.98, 0.95, 0.9, 0.95, 0.6),
    ]
    run = evaluation(*rows)
    (table,) = tables(run)
    assert table.headers == ("Attack", "Seen in training", "May spend", "no defence", "robust-autoencoder")
    assert [line[:3] for line in table.rows] == [
        ("no attack", "–", "–"),
        ("PGD at ε 0.10", "yes", "40 steps"),
        ("PGD at ε 0.30", "yes", "40 steps"),
        ("APGD at ε 0.30", "no", "100 steps"),
        ("APGD (L2) at ε 2.00", "no", "40 steps"),
        (NEVER_SEEN, "no", "each of these"),
    ]
    assert table.notes == ()
    assert "Protocol: adaptive." in table.caption
    assert [chart.title for chart in charts(run)] == ["MNIST, PGD, adaptive"]
    (headline,) = headlines(run)
    assert headline.adaptive is not None
    assert (headline.adaptive.attack, headline.adaptive.defence) == (NEVER_SEEN, "robust-autoencoder")
    assert not [failure for claim in claims(run) for failure in claim.failures]


def test_of_one_step_nothing_is_claimed_where_grey_is_in_reach(row: Rows, evaluation: Runs) -> None:
    one = row(table="breadth", attack="fgsm", eps=1.0, protocol="adaptive", defence="unet", accuracy=0.4)
    assert claims(evaluation(one)) == ()


def test_curves_do_not_mix_with_the_tables_of_many_defences(row: Rows, evaluation: Runs) -> None:
    curve = [row(table="1b", eps=eps, protocol="adaptive", accuracy=0.5 - eps) for eps in (0.1, 0.2)]
    beside = row(table="defences", eps=0.3, protocol="adaptive", defence="jpeg", accuracy=0.1)
    (chart,) = charts(evaluation(*curve, beside))
    assert [series.name for series in chart.series] == ["no defence"]
