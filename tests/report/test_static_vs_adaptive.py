"""What each defence loses once it is known, as a picture."""

from __future__ import annotations

from dataclasses import replace

from steelman.records import Evaluation, Row
from steelman.report import to_html
from steelman.report.static_vs_adaptive import arenas
from steelman.studies.presentation import presentation


def row(defence: str, attack: str, protocol: str, accuracy: float, table: str = "defences") -> Row:
    return Row(
        table=table,
        dataset="mnist",
        classifier="cnn",
        defence=defence,
        attack=attack,
        eps=0.0 if attack == "none" else 0.3,
        protocol=protocol,
        n=100,
        accuracy=accuracy,
        ci_low=max(0.0, accuracy - 0.05),
        ci_high=min(1.0, accuracy + 0.05),
    )


def evaluation(*rows: Row) -> Evaluation:
    shown = presentation(["defences"])
    return Evaluation(title="defences", rows=rows, settings={}, versions={}, presentation=shown)


ROWS = (
    row("jpeg", "none", "static", 0.99),
    row("jpeg", "pgd", "static", 0.4),
    row("jpeg", "square", "static", 0.6),
    row("jpeg", "pgd", "adaptive", 0.0),
    row("jpeg", "square", "adaptive", 0.1),
    row("<b>", "none", "static", 0.97),
    row("<b>", "pgd", "static", 0.96),
    row("<b>", "pgd", "adaptive", 0.9),
)


def test_the_worst_of_each_kind_stand_beside_each_other_and_the_best_known_comes_first() -> None:
    (arena,) = arenas(evaluation(*ROWS))
    assert [(duel.name, duel.clean, duel.unknown, duel.known) for duel in arena.duels] == [
        ("<b> (cnn)", 97.0, 96.0, 90.0),
        ("jpeg (cnn)", 99.0, 40.0, 0.0),
    ]


def test_an_attack_of_a_radius_that_the_knowing_one_has_not_is_no_match_for_it() -> None:
    far = replace(row("jpeg", "fgsm", "static", 0.1), eps=0.6)
    assert arenas(evaluation(*ROWS, far)) == arenas(evaluation(*ROWS))


def test_a_defence_without_all_three_figures_is_not_drawn() -> None:
    assert not arenas(evaluation(*ROWS[:3]))
    assert not arenas(evaluation(*(row("jpeg", "pgd", p, 0.5, table="evaluate") for p in ("static", "adaptive"))))


def test_the_page_draws_it_and_escapes_names() -> None:
    page = to_html(evaluation(*ROWS))
    assert 'aria-label="jpeg (cnn): 99 % clean, 40 % unknown, 0 % known"' in page
    assert "<b> (cnn)" not in page
    assert "&lt;b&gt; (cnn)" in page


def test_a_table_of_defences_has_a_line_for_each_and_a_column_for_each_attack() -> None:
    from steelman.report.tabulation import tables

    (table,) = tables(evaluation(*ROWS))
    assert table.headers[:3] == ("Defence", "no attack, static", "PGD at ε 0.30, static")
    assert [line[0] for line in table.rows] == ["jpeg", "<b>"]
    assert table.rows[0][1].startswith("99.00")
    assert table.rows[1][3] == "–"
