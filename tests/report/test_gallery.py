from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from steelman.records import Evaluation, Picture, Row
from steelman.report import to_html
from steelman.report.curves import charts
from steelman.report.gallery import SHOWN, amplified, walls

Rows = Callable[..., Row]
Runs = Callable[..., Evaluation]
Pictures = Callable[..., Picture]


def decoded(uri: str) -> NDArray[np.uint8]:
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_as_they_went_in(channels: int, picture: Pictures) -> None:
    shown = picture(0.1, channels=channels)
    ((strip,),) = [wall.strips for wall in walls((shown,))]
    for place, cell in ((0, 0), (1, 2), (2, 3)):
        assert np.array_equal(decoded(strip.cells[cell].uri), shown.images[place].squeeze())
    assert strip.cells[0].size == (28, 28)


@pytest.mark.parametrize(("reach", "k"), [(0, 1.0), (1, 100.0), (10, 10.0), (26, 3.0), (127, 1.0), (255, 0.5)])
def test_the_perturbation_is_grey_plus_k_times_the_difference(reach: int, k: float) -> None:
    clean = np.full((2, 2, 1), 0, np.uint8)
    attacked = clean.copy()
    attacked[0, 0] = reach
    image, factor = amplified(clean, attacked)
    assert factor == k
    assert image[1, 1, 0] == 128
    assert image[0, 0, 0] == pytest.approx(min(127.5 + k * reach, 255), abs=1)
    assert amplified(attacked, clean)[0][0, 0, 0] == pytest.approx(max(127.5 - k * reach, 0), abs=1)


def test_walls_group_pictures_and_sort_them_by_eps(picture: Pictures) -> None:
    shown = [picture(0.3), picture(0.1), picture(0.1, protocol="as-published"), picture(0.1, dataset="fashion-mnist")]
    first, second, third = walls(shown)
    assert first.title == "MNIST, PGD, as-published"
    assert [strip.eps for strip in second.strips] == ["0.10", "0.30"]
    assert third.title == "Fashion-MNIST, PGD, static"


def test_a_wrong_reading_is_marked_in_words_and_by_a_sign(picture: Pictures, evaluation: Runs) -> None:
    text = to_html(evaluation(pictures=(picture(0.1),)))
    assert text.count('<span class="unseen">, wrong</span>') == 1
    assert text.count("✗</span> 4") == 1
    assert "image 7, class 9, adversarial, classified as 4 with 73.0 % confidence" in text
    right = picture(0.1, readings=(("9", 1.0), ("9", 0.6), ("9", 1.0)))
    assert ", wrong</span>" not in to_html(evaluation(pictures=(right,)))


def test_without_a_defence_nothing_is_called_purified(picture: Pictures, evaluation: Runs) -> None:
    assert ">purified</th>" in to_html(evaluation(pictures=(picture(0.1),)))
    text = to_html(evaluation(pictures=(picture(0.1, defence="none"),)))
    assert ">purified</th>" not in text
    assert text.count("<img ") == 3


def test_pictures_beyond_the_limit_are_counted(picture: Pictures, evaluation: Runs) -> None:
    text = to_html(evaluation(pictures=(picture(0.1, side=2),) * (SHOWN + 3)))
    assert text.count("<img ") == 4 * SHOWN
    assert "3 further pictures of this run are not shown" in text


def test_a_curve_starts_at_the_clean_figure_of_its_pipeline(row: Rows, evaluation: Runs) -> None:
    rows = [
        row(attack="none", eps=0.0, accuracy=0.99),
        row(eps=0.3, accuracy=0.1),
        row(eps=0.1, accuracy=0.6, published=0.613),
        row(attack="none", eps=0.0, accuracy=0.97, defence="unet"),
        row(eps=0.1, accuracy=0.9, defence="unet"),
        row(eps=0.1, accuracy=0.2, defence="unet", protocol="adaptive"),
    ]
    static, adaptive = charts(evaluation(*rows))
    assert [series.name for series in static.series] == ["no defence", "unet"]
    assert [point.accuracy for point in static.series[0].points] == [0.99, 0.6, 0.1]
    assert [point.published for point in static.series[0].published] == [0.613]
    assert [point.accuracy for point in adaptive.series[0].points] == [0.97, 0.2]
    assert static.series[1].style == adaptive.series[0].style != static.series[0].style


def test_of_two_rows_at_one_eps_the_larger_sample_counts(row: Rows, evaluation: Runs) -> None:
    rows = [row(eps=0.1), row(eps=0.2, n=100, accuracy=0.3), row(eps=0.2, n=1000, accuracy=0.4), row(eps=0.2, n=1000)]
    (chart,) = charts(evaluation(*rows))
    assert [point.accuracy for point in chart.series[0].points] == [0.5, 0.4]


def test_curves_of_one_chart_never_look_alike(row: Rows, evaluation: Runs) -> None:
    rows = [row(eps=e, classifier=c, defence=d) for e in (0.1, 0.2) for c in "abc" for d in ("none", "unet")]
    (chart,) = charts(evaluation(*rows))
    assert len({series.style for series in chart.series}) == 6
    assert len({series.name for series in chart.series}) == 6


def test_a_single_eps_makes_no_chart(row: Rows, evaluation: Runs) -> None:
    assert charts(evaluation(row(), row(defence="unet"))) == ()
