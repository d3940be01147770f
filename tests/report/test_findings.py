from __future__ import annotations

from collections.abc import Callable

import pytest

from steelman.records import Evaluation, Row
from steelman.report.findings import collapses, headlines, leaks, unmeasured
from steelman.report.warnings_shown import claims

Rows = Callable[..., Row]
Runs = Callable[..., Evaluation]


def broken(evaluation: Evaluation) -> list[str]:
    return [failure for claim in claims(evaluation) for failure in claim.failures]


def test_the_headline_is_static_pgd_and_its_adaptive_twin(study: Evaluation) -> None:
    mnist, fashion = headlines(study)
    assert (mnist.dataset, fashion.dataset) == ("mnist", "fashion-mnist")
    assert [row.accuracy for _, row in mnist.figures] == [0.99, 0.039, 0.902, 0.021]
    assert [row.protocol for _, row in mnist.figures] == ["static", "static", "static", "adaptive"]
    assert [label for label, _ in mnist.figures][-1] == "adaptive PGD at ε 0.15, with unet"
    assert "99.0\u00a0%" in mnist.sentence
    assert "Once the attacker knows unet: 2.1\u00a0%" in mnist.sentence


def test_a_headline_makes_do_with_what_there_is(row: Rows, evaluation: Runs) -> None:
    (only,) = headlines(evaluation(row(accuracy=0.25)))
    assert [value.accuracy for _, value in only.figures] == [0.25]
    assert "25.0\u00a0% under static PGD" in only.sentence
    (known,) = headlines(evaluation(row(protocol="adaptive", defence="unet")))
    assert known.adaptive is not None
    assert known.defended is None
    assert headlines(evaluation(row(n=0, accuracy=None, published=0.1))) == ()


def test_an_adaptive_figure_of_another_eps_is_no_twin(row: Rows, evaluation: Runs) -> None:
    rows = [row(defence="unet", eps=0.15), row(defence="unet", eps=0.3, protocol="adaptive")]
    (headline,) = headlines(evaluation(*rows))
    assert headline.defended == rows[0]
    assert headline.adaptive is None


@pytest.mark.parametrize(("adaptive", "expected"), [(0.69, 1), (0.71, 0), (0.95, 0)])
def test_a_fall_of_twenty_points_is_a_collapse(adaptive: float, expected: int, row: Rows, evaluation: Runs) -> None:
    rows = row(defence="unet", accuracy=0.9), row(defence="unet", accuracy=adaptive, protocol="adaptive")
    said = collapses(evaluation(*rows))
    assert len(said) == expected
    assert all("from 90.0\u00a0% to 69.0\u00a0%" in sentence for sentence in said)


def test_of_several_eps_the_largest_fall_is_told(row: Rows, evaluation: Runs) -> None:
    rows = [
        row(defence="unet", accuracy=accuracy, eps=eps, protocol=protocol)
        for eps, static, adaptive in ((0.1, 0.9, 0.5), (0.2, 0.8, 0.1), (0.3, 0.4, 0.0))
        for protocol, accuracy in (("static", static), ("adaptive", adaptive))
    ]
    (sentence,) = collapses(evaluation(*rows))
    assert "ε 0.20 from 80.0" in sentence
    assert "ε 0.10" not in sentence


def test_defended_figures_without_an_adaptive_one_are_named(row: Rows, evaluation: Runs) -> None:
    assert unmeasured(evaluation(row(defence="unet"))) == ("MNIST",)
    assert unmeasured(evaluation(row())) == ()
    assert unmeasured(evaluation(row(defence="unet"), row(defence="unet", protocol="adaptive"))) == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"accuracy": 0.9}, False),
        ({"accuracy": 0.95}, True),
        ({"attack": "pgd"}, False),
        ({"defence": "none"}, False),
        ({"protocol": "as-published"}, False),
        ({"classifier": "vgg16"}, False),
        ({"dataset": "fashion-mnist"}, False),
        ({"n": 0, "accuracy": None, "published": 0.99}, False),
    ],
)
def test_a_leak_is_told_where_it_happens_and_nowhere_else(
    change: dict[str, object], expected: bool, row: Rows, evaluation: Runs
) -> None:
    clean = [row(attack="none", eps=0.0, defence=name, accuracy=0.9) for name in ("unet", "none")]
    values = {"attack": "fgsm", "eps": 0.6, "defence": "unet", "accuracy": 0.97} | change
    assert bool(leaks(evaluation(*clean, row(**values)))) is expected


def test_a_leak_names_both_figures(study: Evaluation) -> None:
    said = leaks(study)
    assert any("98.10 % under FGSM at ε 0.60, above its 91.50 % on clean images" in sentence for sentence in said)


def test_accuracy_must_not_rise_with_eps_under_an_iterated_attack(row: Rows, evaluation: Runs) -> None:
    assert broken(evaluation(row(eps=0.1, accuracy=0.5), row(eps=0.2, accuracy=0.6)))
    assert not broken(evaluation(row(eps=0.1, accuracy=0.5), row(eps=0.2, accuracy=0.51)))
    assert not broken(evaluation(row(eps=0.1, accuracy=0.6), row(eps=0.2, accuracy=0.5)))
    fgsm = [row(attack="fgsm", eps=eps, accuracy=accuracy) for eps, accuracy in ((0.1, 0.5), (0.2, 0.9))]
    assert not claims(evaluation(*fgsm))


def test_pgd_must_not_be_weaker_than_fgsm(row: Rows, evaluation: Runs) -> None:
    assert broken(evaluation(row(attack="fgsm", accuracy=0.3), row(accuracy=0.5)))
    assert not broken(evaluation(row(attack="fgsm", accuracy=0.5), row(accuracy=0.3)))


def test_knowing_the_defence_must_not_make_an_attack_weaker(row: Rows, evaluation: Runs) -> None:
    static = row(defence="unet", accuracy=0.5)
    assert broken(evaluation(static, row(defence="unet", accuracy=0.7, protocol="adaptive")))
    assert not broken(evaluation(static, row(defence="unet", accuracy=0.2, protocol="adaptive")))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"accuracy": 0.11}, False),
        ({"eps": 0.4}, False),
        ({"protocol": "static"}, False),
        ({"norm": "L2"}, False),
    ],
)
def test_nothing_can_hold_where_grey_is_in_reach(
    change: dict[str, object], expected: bool, row: Rows, evaluation: Runs
) -> None:
    values = {"protocol": "adaptive", "eps": 0.6, "accuracy": 0.4, "defence": "unet"} | change
    assert bool(broken(evaluation(row(**values)))) is expected
