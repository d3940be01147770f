from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from steelman.records import Evaluation, Row
from steelman.report import Table, tables, to_markdown
from steelman.report.tabulation import latencies

Rows = Callable[..., Row]
Runs = Callable[..., Evaluation]


def column(table: Table, header: str) -> list[str]:
    return [line[table.headers.index(header)] for line in table.rows]


def test_the_paper_comes_first_and_a_data_set_has_its_own_table(study: Evaluation) -> None:
    titles = [table.title for table in tables(study)]
    assert [title.split(" · ")[0] for title in titles] == ["Table 1a"] * 2 + ["Table 1b"] * 2 + ["Table 2"] * 2 + [
        "Table 3"
    ]
    assert titles[0].endswith("MNIST")
    assert titles[1].endswith("Fashion-MNIST")


def test_table_1a_sets_each_protocol_beside_the_published_figure(study: Evaluation) -> None:
    table = tables(study)[0]
    assert table.headers == ("ε", "as-published, paper_vgg", "static, cnn", "published")
    assert table.rows[0] == ("0 (clean)", "97.80 [96.7, 98.6]", "99.00 [98.2, 99.5]", "99.01")
    assert column(table, "ε") == ["0 (clean)", "0.10", "0.20", "0.30", "0.40", "0.50", "0.60", "0.70", "1.00", "1.50"]
    assert "No defence." in table.caption
    assert "n = 1,000 images a cell" in table.caption
    assert table.numeric == (True, True, True, True)


def test_table_2_sets_defences_side_by_side(study: Evaluation) -> None:
    table = next(t for t in tables(study) if t.title == "Table 2 · with and without defence · MNIST")
    assert table.headers[3:] == (
        "no defence",
        "published, no defence",
        "conv-autoencoder",
        "published, conv-autoencoder",
        "unet",
    )
    line = next(row for row in table.rows if row[:2] == ("PGD at ε 0.15", "adaptive"))
    assert line[3:] == ("–", "–", "3.40 [2.4, 4.7]", "–", "2.10 [1.3, 3.2]")
    protocols = [row[1] for row in table.rows if row[0] == "PGD at ε 0.15"]
    assert protocols == ["as-published", "static", "adaptive"]


def test_a_figure_that_was_not_measured_says_so(study: Evaluation) -> None:
    table = tables(study)[-1]
    gan = next(row for row in table.rows if "defense-gan" in row)
    assert gan[table.headers.index("Accuracy, %")] == "published, not measured here¹"
    assert gan[table.headers.index("Published, %")] == "85.29"
    assert gan[table.headers.index("n")] == "–"
    assert table.notes == ("¹ The latency is the paper's, on another machine.",)


@pytest.mark.parametrize("name", ["1a", "2"])
def test_a_published_figure_alone_says_so_in_the_paper_tables(name: str, row: Rows, evaluation: Runs) -> None:
    (table,) = tables(evaluation(row(table=name, n=0, accuracy=None, published=0.0418)))
    assert table.rows[0][-2:] == ("published, not measured here", "4.18")


def test_other_rows_form_one_line_each(row: Rows, evaluation: Runs) -> None:
    rows = [row(eps=8 / 255, accuracy=0.25, attack="bim"), row(defence="jpeg", n=200), row(table="odd", dataset="x")]
    first, second = tables(evaluation(*rows))
    assert first.title == "Evaluation"
    assert first.headers == ("Defence", "Attack", "ε", "Protocol", "n", "Accuracy, %", "95 % interval")
    assert first.rows[0] == ("no defence", "BIM", "0.03137", "static", "1,000", "25.00", "[22.3, 27.8]")
    assert first.rows[1][0] == "jpeg"
    assert first.rows[1][4] == "200"
    assert "Data set: MNIST. Classifier: cnn." in first.caption
    assert second.title == "Table “odd”"
    assert "Data set: x." in second.caption


def test_several_data_sets_and_classifiers_become_columns(row: Rows, evaluation: Runs) -> None:
    (table,) = tables(evaluation(row(), row(dataset="mine", classifier="vgg16")))
    assert column(table, "Data set") == ["MNIST", "mine"]
    assert column(table, "Classifier") == ["cnn", "vgg16"]


def test_cells_say_n_where_it_differs(row: Rows, evaluation: Runs) -> None:
    (table,) = tables(evaluation(row(table="1b"), row(table="1b", eps=0.3, n=500, accuracy=0.1)))
    assert "n =" not in table.caption
    assert table.rows[0][1].endswith(", n = 1,000")
    assert table.rows[1][1].endswith(", n = 500")


def test_a_note_has_one_mark_and_stands_once(row: Rows, evaluation: Runs) -> None:
    rows = [row(table="1b", eps=eps, note=note) for eps, note in ((0.1, "b"), (0.2, ""), (0.3, "b"), (0.4, "a"))]
    (table,) = tables(evaluation(*rows))
    assert [line[1][-1] for line in table.rows] == ["¹", "]", "¹", "²"]
    assert table.notes == ("¹ b", "² a")


def test_two_rows_for_one_cell_are_both_shown(row: Rows, evaluation: Runs) -> None:
    (table,) = tables(evaluation(row(table="1b", accuracy=0.1), row(table="1b", accuracy=0.9)))
    assert "10.00" in table.rows[0][1]
    assert "90.00" in table.rows[0][1]


def test_every_measured_figure_stands_in_some_table(study: Evaluation) -> None:
    text = "\n".join(cell for table in tables(study) for line in table.rows for cell in line)
    for known in study.rows:
        if known.accuracy is not None:
            assert f"{100 * known.accuracy:.2f}" in text


def test_a_table_is_as_wide_as_its_headers_and_frozen(study: Evaluation) -> None:
    for table in tables(study):
        assert {len(line) for line in table.rows} == {len(table.headers)}
    with pytest.raises(FrozenInstanceError):
        tables(study)[0].title = "x"  # type: ignore[misc]


def test_no_rows_no_tables(evaluation: Runs) -> None:
    assert tables(evaluation()) == ()
    assert latencies(evaluation()) is None


def test_latencies_name_their_origin(study: Evaluation) -> None:
    table = latencies(study)
    assert table is not None
    assert column(table, "Median") == ["0.61 ms", "0.83 ms", "1.42 ms", "14.80 s", "110.00 ms"]
    assert column(table, "Threads") == ["2", "2", "2", "–", "–"]
    assert column(table, "Origin") == ["measured here"] * 3 + ["published"] * 2


def test_markdown_has_every_table_and_no_raw_markup(study: Evaluation, row: Rows, evaluation: Runs) -> None:
    text = to_markdown(study)
    assert text.count("\n### ") == 7
    assert "| 0.10 | 89.80 [87.8, 91.6] | 86.40 [84.1, 88.5] | 90.99 |" in text
    hostile = to_markdown(evaluation(row(defence="<b>|x\ny"), notes=("end",)))
    assert "| &lt;b>\\|x y |" in hostile
    assert hostile.endswith("- end\n")
