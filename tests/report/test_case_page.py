"""The page of an evaluation with cases."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steelman.records import (
    Breaker,
    Case,
    CertifiedInterval,
    Check,
    CheckOutcome,
    Evaluation,
    Picture,
    Row,
    Sample,
    Trust,
    Verdict,
    read,
)
from steelman.report import to_html

Cases = Callable[..., Case]
Runs = Callable[..., Evaluation]
Samples = Callable[..., list[Sample]]
Pictures = Callable[..., Picture]
Outlines = Callable[[str], Any]
HOSTILE = "<script>alert(1)</script>\"'&$\\frac{_"
INFLATED = Verdict(word=Trust.INFLATED, reasons=("transfer broke 42",))
PARTS = ("sides", "checks", "interval", "curve", "breakers", "cost", "stages", "classes")


def sound(text: str, outline: Outlines) -> Any:
    """What any page must be: whole, with every id once, every link inside, nothing from outside."""
    whole = outline(text)
    assert whole.open == []
    ids = whole.values("id")
    assert len(ids) == len(set(ids))
    targets = whole.values("href") + whole.values("xlink:href")
    assert all(target.startswith("#") for target in targets)
    named = [name for names in whole.values("aria-labelledby") for name in names.split()]
    assert {target[1:] for target in targets} | set(named) <= set(ids)
    assert {tag for tag, _ in whole.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert "http://" not in text
    assert "https://" not in text
    for tag, attributes in whole.tags:
        if attributes.get("class") == "scroll":
            assert attributes["tabindex"] == "0", tag
    return whole


def test_a_page_opens_with_figure_and_verdict_and_links_to_its_parts(
    case: Cases, evaluation: Runs, outline: Outlines
) -> None:
    text = to_html(evaluation(cases=(case(),)))
    whole = sound(text, outline)
    ids = set(whole.values("id"))
    assert {f"case-1-{part}" for part in PARTS} <= ids
    nav = text[text.index("<nav") : text.index("</nav>")]
    assert [f'href="#case-1-{part}"' in nav for part in PARTS] == [True] * len(PARTS)
    opening = text[text.index('class="opening sound"') : text.index("<nav")]
    assert opening.index('class="big"') < opening.index("Figure trusted")
    assert "survive every attack through the whole pipeline" in opening
    assert text.index('class="opening sound"') < text.index("Static against adaptive")
    assert [tag for tag, _ in whole.tags].count("h1") == 1


def test_an_inflated_figure_never_stands_without_its_warning(case: Cases, failed: Check, evaluation: Runs) -> None:
    text = to_html(evaluation(cases=(case(verdict=INFLATED, checks=(failed,)),)))
    opening = text[text.index('class="opening inflated"') : text.index("<nav")]
    assert "✗</span> <strong>Figure inflated</strong>: <bdi>transfer broke 42</bdi>" in opening
    assert "seem to survive" in opening
    assert "Do not quote this figure" in opening
    assert "1 of 1 check failed" in opening
    assert ".opening.inflated .big { font-size: 1.05rem;" in text


def test_a_verdict_is_told_without_colour(case: Cases, evaluation: Runs) -> None:
    unsure = Verdict(word=Trust.CANNOT_TELL, reasons=("why",))
    text = to_html(evaluation(cases=(case(), case(verdict=INFLATED), case(verdict=unsure))))
    signs = re.findall(r'<span class="sign" aria-hidden="true">(.)</span> <strong>([A-Za-z ]+)</strong>', text)
    assert signs == [("✓", "Figure trusted"), ("✗", "Figure inflated"), ("?", "Cannot tell")] * 2


def test_failed_checks_stand_first_and_idle_ones_last(case: Cases, failed: Check, evaluation: Runs) -> None:
    known = [replace(failed, name=name, outcome=outcome) for name, outcome in
             (("idle", "not applicable"), ("fine", "pass"), ("bad", "fail"), ("well", "pass"))]  # fmt: skip
    text = to_html(evaluation(cases=(case(checks=tuple(known)),)))
    part = text[text.index('<ul class="trust">') :]
    assert re.findall(r"<strong><bdi>(\w+)</bdi></strong>", part) == ["bad", "fine", "well", "idle"]
    assert part.count("This makes the verdict") == 1


def test_several_cases_are_told_apart(case: Cases, failed: Check, evaluation: Runs, outline: Outlines) -> None:
    cases = (case(), case(norm="L2", eps=2.0, verdict=INFLATED, checks=(failed,)), case(norm="none", eps=0, curve=None))
    text = to_html(evaluation(cases=cases))
    ids = set(sound(text, outline).values("id"))
    assert {"case-1", "case-2", "case-3", "case-2-curve"} <= ids
    assert "case-3-curve" not in ids
    assert text.count('<article class="opening') == 3
    assert "3 figures: 2 are trusted and 1 is inflated." in text
    nav = text[text.index("<nav") : text.index("</nav>")]
    assert [f'href="#{name}"' in nav for name in ("case-1", "case-2", "case-1-curve")] == [True, True, False]


def test_names_from_outside_stay_text(
    case: Cases,
    samples: Samples,
    breaker: Callable[..., Breaker],
    picture: Pictures,
    evaluation: Runs,
    outline: Outlines,
) -> None:
    plain = case(samples(20))
    hostile = replace(
        plain,
        **dict.fromkeys(("dataset", "classifier", "defence", "norm"), HOSTILE),
        verdict=Verdict(word=Trust.INFLATED, reasons=(HOSTILE, HOSTILE)),
        checks=(Check(name=HOSTILE, claim=HOSTILE, outcome=CheckOutcome.FAIL, measured=HOSTILE),),
        breakers=(breaker(HOSTILE, through=HOSTILE, protocol=HOSTILE, broke=1),),
        stages=tuple(replace(stage, name=HOSTILE, gradient=HOSTILE, gradient_path=HOSTILE) for stage in plain.stages),
        certified_interval=CertifiedInterval(certified=None, attacked=3, why=HOSTILE, methods=((HOSTILE, 3),)),
        samples=tuple(replace(sample, label=HOSTILE, by=HOSTILE) for sample in plain.samples),
    )
    shown = picture(0.3, role=HOSTILE, label=HOSTILE, dataset=HOSTILE, classifier=HOSTILE, defence=HOSTILE)
    run = evaluation(cases=(hostile, plain), pictures=(shown,), settings={"command": HOSTILE, "config": HOSTILE})
    text = to_html(run)
    sound(text, outline)
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 30


def survivors(known: list[Sample], kept: bool) -> list[Sample]:
    return [replace(s, clean=kept or s.clean, static=kept, kept=kept, certified=kept, distance=None) for s in known]


@pytest.mark.parametrize("kind", ["one", "none", "all", "bald", "hundred", "bare"])
def test_a_page_makes_do_with_any_case(
    kind: str, case: Cases, samples: Samples, evaluation: Runs, outline: Outlines
) -> None:
    made = {
        "one": lambda: case(samples(1)),
        "none": lambda: case(survivors(samples(50), False)),
        "all": lambda: case(survivors(samples(50), True)),
        "bald": lambda: replace(
            case(), curve=None, checks=(), breakers=(), stages=(), samples=(), spent=0, full=0,
            certified_interval=CertifiedInterval(certified=None, attacked=5),
        ),
        "hundred": lambda: case(samples(300, labels=100)),
        "bare": lambda: case(samples(50, defended=False, proved=False)),
    }[kind]()  # fmt: skip
    text = to_html(evaluation(cases=(made,)))
    ids = sound(text, outline).values("id")
    there = {name for name in PARTS if f"case-1-{name}" in ids}
    assert there == ({"sides", "checks", "interval"} if kind == "bald" else set(PARTS))
    assert ("case-1-classes-others" in ids) is (kind == "hundred")
    assert ("Clean against attacked" in text) is (kind == "bare")
    assert ("No check was made on this figure, so" in text) is (kind == "bald")


def test_pictures_are_grouped_by_their_role_and_say_where_they_break(
    case: Cases, samples: Samples, picture: Pictures, evaluation: Runs, outline: Outlines
) -> None:
    known = samples(10)
    roles = ("broken by the smallest change", "survives, nearest to breaking")
    shown = [picture(0.3, index=i, role=roles[i % 2], attack="pgd", protocol="adaptive") for i in range(6)]
    text = to_html(evaluation(cases=(case(known),), pictures=(picture(0.1), *shown)))
    sound(text, outline)
    first, second, third = (text.index(words) for words in ("Broken by the", "Survives, nearest", "MNIST, PGD, static"))
    assert first < second < third
    assert f"breaks at {known[0].distance:.3g}" in text[first:second]
    assert f"breaks at {known[1].distance:.3g}" in text[second:third]
    assert "breaks at" not in text[third:]


def test_distances_of_two_cases_of_one_eps_are_not_mixed(
    case: Cases, samples: Samples, picture: Pictures, evaluation: Runs
) -> None:
    near, far = samples(10), tuple(replace(one, distance=0.45) for one in samples(10))
    both = (case(near), case(far, norm="L2"))
    shown = (picture(0.3, index=0, role="broken"), picture(0.3, index=0, role="broken", norm="L2"))
    text = to_html(evaluation(cases=both, pictures=shown))
    assert f"breaks at {near[0].distance:.3g}" in text
    assert "breaks at 0.45" in text
    assert "breaks at" not in to_html(evaluation(cases=both[:1], pictures=shown[1:]))


def test_a_run_can_be_repeated_from_its_page(case: Cases, evaluation: Runs, outline: Outlines) -> None:
    config = '[attack]\nname = "standard"\neps = 0.3\n'
    text = to_html(evaluation(cases=(case(),), settings={"command": ["steelman", "evaluate"], "config": config}))
    sound(text, outline)
    assert '<a href="#rerun">' in text
    assert "<code>steelman evaluate</code>" in text
    assert '<pre tabindex="0"><code>[attack]\nname = &#34;standard&#34;\neps = 0.3\n</code></pre>' in text
    assert "<dt>config</dt>" not in text
    assert '<a href="#rerun">' not in to_html(evaluation(cases=(case(),)))


def test_more_proved_than_survives_is_an_alarm(case: Cases, evaluation: Runs) -> None:
    text = to_html(evaluation(cases=(case(certified_interval=CertifiedInterval(certified=190, attacked=100)),)))
    assert "190 images are said to be proved and only 100 survive" in text


def test_ten_thousand_samples_of_four_cases_stay_small(
    case: Cases, samples: Samples, picture: Pictures, evaluation: Runs
) -> None:
    one = case(samples(10_000))
    shown = tuple(picture(0.3, index=i, role="broken", channels=3, side=64) for i in range(80))
    run = evaluation(cases=tuple(replace(one, eps=eps) for eps in (0.1, 0.2, 0.3, 0.4)), pictures=shown)
    assert len(to_html(run).encode()) < 6_000_000


def test_a_page_survives_the_run_folder(case: Cases, picture: Pictures, evaluation: Runs, tmp_path: Path) -> None:
    run = evaluation(cases=(case(), case(curve=None, worst=3)), pictures=(picture(0.3, role="broken"),))
    run.write(tmp_path)
    assert to_html(read(tmp_path)) == to_html(run)


def test_a_study_has_nothing_of_all_this(study: Evaluation) -> None:
    text = to_html(study)
    assert '<article class="opening' not in text
    assert ".opening" not in text
    assert 'href="#rerun"' not in text
    assert "Checked on these rows" in text


def test_rows_are_checked_in_an_evaluation_too_where_they_fail(
    case: Cases, row: Callable[..., Row], evaluation: Runs
) -> None:
    rising = (row(eps=0.1, accuracy=0.2), row(eps=0.2, accuracy=0.9))
    falling = (row(eps=0.1, accuracy=0.9), row(eps=0.2, accuracy=0.2))
    assert "rises with ε" in to_html(evaluation(*rising, cases=(case(),)))
    assert "Checked on these rows" not in to_html(evaluation(*falling, cases=(case(),)))
