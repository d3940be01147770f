"""The paper's purifier and ours, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steelman.records import Evaluation, Picture
from steelman.report import to_html
from steelman.report.side_by_side import facings, others
from steelman.studies.presentation import OURS, PAPERS

Pictures = Callable[..., Picture]
Runs = Callable[..., Evaluation]

READ = (("9", 0.99), ("4", 0.7), ("9", 0.9))
MISREAD = (("9", 0.99), ("4", 0.7), ("4", 0.8))


def both(picture: Pictures, index: int, **changes: Any) -> tuple[Picture, Picture]:
    known = {"index": index, "attack": "apgd", "protocol": "adaptive"} | changes
    return (
        picture(0.3, role=PAPERS, defence="conv-<b>", readings=MISREAD, **known),
        picture(0.3, role=OURS, defence="robust", readings=READ, **known),
    )


def test_an_image_stands_in_one_line_before_both_purifiers(picture: Pictures, evaluation: Runs) -> None:
    (face,) = facings(evaluation(pictures=(*both(picture, 7), *both(picture, 3))))
    assert face.title == "MNIST"
    assert face.heads == ((PAPERS, "conv-<b>"), (OURS, "robust"))
    assert [line.index for line in face.lines] == [7, 3]
    assert [side.purified.wrong for side in face.lines[0].sides] == [True, False]
    assert face.caption == (
        "APGD at Linf ε 0.30, made through each pipeline. "
        "Classified correctly after it: conv-<b> 0 of 2 and robust 2 of 2."
    )


def test_data_sets_stand_apart_and_an_image_before_one_purifier_is_left_out(
    picture: Pictures, evaluation: Runs
) -> None:
    shown = [*both(picture, 7), *both(picture, 7, dataset="fashion-mnist")[:1]]
    assert [face.title for face in facings(evaluation(pictures=tuple(shown)))] == ["MNIST"]
    assert facings(evaluation(pictures=tuple(shown[2:]))) == ()
    shown += both(picture, 7, dataset="fashion-mnist")[1:]
    assert [face.title for face in facings(evaluation(pictures=tuple(shown)))] == ["MNIST", "Fashion-MNIST"]
    assert others(evaluation(pictures=(*shown, plain := picture(0.1)))) == (plain,)


def test_right_and_wrong_are_told_in_words_and_names_are_escaped(picture: Pictures, evaluation: Runs) -> None:
    page = to_html(evaluation(pictures=both(picture, 7)))
    assert page.count('<td class="told wrong">✗ wrong<span class="as">as 4</span>') == 1
    assert page.count('<td class="told right">✓ right<span class="as">as 9</span>') == 1
    assert "image 7, class 9, drawn by robust, classified as 9 with 90.0 % confidence" in page
    assert "conv-<b>" not in page
    assert page.count("<img ") == 5
    assert 'id="pictures"' not in page
    assert 'id="facing"' not in to_html(evaluation(pictures=(picture(0.1),)))


def test_every_element_is_closed(picture: Pictures, evaluation: Runs, outline: Any) -> None:
    assert outline(to_html(evaluation(pictures=both(picture, 7)))).open == []
