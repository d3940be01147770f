from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steelman.errors import InputError
from steelman.records import Evaluation, Picture, Row, read
from steelman.report import to_html, write_html

Rows = Callable[..., Row]
Runs = Callable[..., Evaluation]
Pictures = Callable[..., Picture]
HOSTILE = "<script>alert(1)</script>\"'&$\\frac{_"
Outlines = Callable[[str], Any]


@pytest.fixture(scope="module")
def page(study: Evaluation) -> str:
    return to_html(study)


def test_nothing_points_outside(page: str, outline: Outlines) -> None:
    whole = outline(page)
    for target in whole.values("src") + whole.values("href") + whole.values("xlink:href"):
        assert target.startswith(("#", "data:image/png;base64,"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in whole.tags}


def test_the_markup_is_whole(page: str, outline: Outlines) -> None:
    whole = outline(page)
    assert whole.open == []
    ids = whole.values("id")
    assert len(ids) == len(set(ids))
    targets = [target[1:] for target in whole.values("href") if target.startswith("#")]
    targets += [target[1:] for target in re.findall(r"url\(([^)]*)\)", page)]
    targets += [name for names in whole.values("aria-labelledby") for name in names.split()]
    assert targets
    assert set(targets) <= set(ids)
    assert [tag for tag, _ in whole.tags].count("h1") == 1
    assert all(attributes.get("alt") for tag, attributes in whole.tags if tag == "img")


def test_what_is_scrolled_sideways_does_not_widen_the_page(page: str) -> None:
    """Words for those who do not see stand outside the flow: only a positioned region keeps them inside."""
    (scroll,) = re.findall(r"^\.scroll \{(.*?)\}", page, flags=re.MULTILINE | re.DOTALL)
    (unseen,) = re.findall(r"^\.unseen \{(.*?)\}", page, flags=re.MULTILINE | re.DOTALL)
    assert "position: absolute" in unseen
    assert "position: relative" in scroll


def test_every_section_is_there(page: str) -> None:
    sections = ("tables", "curves", "pictures", "latency", "meaning", "settings")
    assert [name for name in sections if f'id="{name}"' not in page] == []
    assert '97.80 <span class="interval">[96.7, 98.6]</span>' in page
    assert "published, not measured here¹" in page
    assert "¹ The latency is the paper&#39;s, on another machine." in page
    assert "steelman reproduce --profile quick --seed 0" in page
    assert "pgd.random start" in page
    assert "3 min 12 s" in page
    assert "not hold against an attacker who knows them" in page
    assert page.count("Nobody should read the static number as robustness") == 1


def test_the_drawings_take_the_page_s_colours_and_carry_no_date(page: str) -> None:
    assert page.count('<div role="img"') == 12
    drawings = re.findall(r"<svg viewBox.*?</svg>", page, flags=re.DOTALL)
    assert any("currentColor" in drawing for drawing in drawings)
    assert any("var(--series-1)" in drawing for drawing in drawings)
    assert not re.search(r"#0[14a]0[25b][01]|<metadata|<\?xml|<!DOCTYPE svg|dc:date", page)


def test_the_same_evaluation_gives_the_same_page(study: Evaluation, page: str) -> None:
    assert to_html(study) == page


def test_a_page_survives_the_run_folder(study: Evaluation, page: str, tmp_path: Path) -> None:
    study.write(tmp_path)
    assert to_html(read(tmp_path)) == page


def test_names_from_outside_stay_text(row: Rows, picture: Pictures, evaluation: Runs, outline: Outlines) -> None:
    names = {"dataset": HOSTILE, "classifier": HOSTILE, "defence": HOSTILE, "attack": HOSTILE}
    rows = [row(**names, table=table, eps=eps, note=HOSTILE) for table in ("1a", "2", "x") for eps in (0.0, 0.1, 0.2)]
    shown = picture(0.1, **names, label=HOSTILE, readings=((HOSTILE, 1.0), (HOSTILE + "?", 0.5), (HOSTILE, 0.5)))
    settings = {"command": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}}
    run = evaluation(
        *rows, title=HOSTILE, pictures=(shown,), settings=settings, versions={HOSTILE: HOSTILE}, notes=(HOSTILE,)
    )
    text = to_html(run)
    whole = outline(text)
    assert whole.open == []
    assert "script" not in {tag for tag, _ in whole.tags}
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 30


@pytest.mark.parametrize("kind", ["none", "one", "published", "pictures"])
def test_a_page_makes_do_with_little(
    kind: str, row: Rows, picture: Pictures, evaluation: Runs, outline: Outlines
) -> None:
    run = {
        "none": evaluation(),
        "one": evaluation(row()),
        "published": evaluation(row(n=0, accuracy=None, published=0.5)),
        "pictures": evaluation(pictures=(picture(0.1),)),
    }[kind]
    text = to_html(run)
    assert outline(text).open == []
    assert ('id="tables"' in text) is (kind in ("one", "published"))
    assert ('id="pictures"' in text) is (kind == "pictures")
    assert 'id="curves"' not in text
    assert 'id="latency"' not in text


def test_a_leak_stands_on_the_page_only_where_it_happens(page: str, study: Evaluation) -> None:
    assert "FGSM leaks the label here" in page
    mended = tuple(replace(row, accuracy=0.9) if row.defence == "unet" else row for row in study.rows)
    assert "FGSM leaks the label here" not in to_html(replace(study, rows=mended, pictures=()))


def test_a_defence_without_an_adaptive_figure_is_warned_of(row: Rows, evaluation: Runs) -> None:
    text = to_html(evaluation(row(defence="unet")))
    assert "No adaptive figure for MNIST" in text
    assert "no attacker here knew of the defence" in text


@pytest.mark.parametrize("side", [28, 224])
def test_sixty_pictures_stay_under_six_megabytes(side: int, picture: Pictures, evaluation: Runs) -> None:
    run = evaluation(pictures=tuple(picture(0.1 + i / 1000, channels=3, side=side) for i in range(60)))
    text = to_html(run)
    assert text.count("<img ") == 240
    assert len(text.encode()) < 6_000_000


def test_the_file_is_whole_or_not_there(study: Evaluation, page: str, tmp_path: Path) -> None:
    write_html(study, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == page
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected to write"):
        write_html(study, tmp_path / "file" / "report.html")


@pytest.mark.parametrize("name", ["matplotlib", "jinja2"])
def test_a_missing_extra_is_named(name: str, evaluation: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name}.*install steelman\[report\]"):
        write_html(evaluation(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_report_needs_no_torch_and_tables_no_extra() -> None:
    code = (
        "import sys\n"
        "from steelman.report import tables, to_markdown\n"
        "assert not {'torch', 'matplotlib', 'jinja2'} & set(sys.modules), sorted(sys.modules)\n"
        "from steelman.records import Evaluation\n"
        "from steelman.report import to_html\n"
        "to_html(Evaluation(title='x', rows=(), settings={}, versions={}))\n"
        "assert 'torch' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
