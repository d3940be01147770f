"""The study, on a handful of images with the shipped weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steelman.errors import InputError
from steelman.progress import Progress
from steelman.records import Evaluation, read
from steelman.studies import published
from steelman.studies.paper import reproduce
from steelman.studies.paper_setup import Plan

PLAN = Plan(images=32, tables=("2", "3"))


def unheard(now: Progress) -> None:
    assert now.inside is None, f"nothing should be trained, but {now.inside.title} is"


@pytest.fixture(scope="module")
def evaluation(heard: Any) -> Evaluation:
    found = reproduce(PLAN, heard.progress)
    assert heard.trained == []
    return found


def test_every_cell_of_tables_2_and_3_is_there(evaluation: Evaluation) -> None:
    cells = {(r.table, r.dataset, r.defence, r.attack, r.eps, r.protocol) for r in evaluation.rows}
    assert len(cells) == len(evaluation.rows)
    for dataset in published.DATASETS:
        for attack, eps in published.DEFENDED.items():
            for defence in ("none", "conv-autoencoder"):
                assert ("2", dataset, defence, attack, eps, "as-published") in cells
            for defence in ("none", "conv-autoencoder", "unet"):
                assert ("2", dataset, defence, attack, eps, "static") in cells
                assert ("2", dataset, defence, "pgd", eps, "adaptive") in cells
    for defence in ("none", "conv-autoencoder", "unet", "defense-gan", "defense-gan-encoder", "puvae-hardened"):
        assert any(cell[:3] == ("3", "mnist", defence) for cell in cells)


def test_rows_say_how_they_were_measured(evaluation: Evaluation) -> None:
    for row in evaluation.rows:
        assert row.n == (3 if row.defence == "defense-gan" else 32)
        assert row.ci_low <= row.accuracy <= row.ci_high
    timed = [row for row in evaluation.rows if row.table == "3" and row.n and row.attack == "fgsm"]
    assert all(row.latency_ms > 0 and row.threads for row in timed)


def test_published_figures_stand_beside_the_cells_that_they_belong_to(evaluation: Evaluation) -> None:
    found = {
        (r.dataset, r.attack): r.published
        for r in evaluation.rows
        if (r.table, r.defence, r.protocol) == ("2", "conv-autoencoder", "as-published") and r.attack != "none"
    }
    assert found == {
        ("mnist", "fgsm"): 0.9209,
        ("mnist", "pgd"): 0.9406,
        ("fashion-mnist", "fgsm"): 0.7393,
        ("fashion-mnist", "pgd"): 0.7291,
    }


def test_an_attacker_who_knows_the_purifier_is_stronger(evaluation: Evaluation) -> None:
    found = {
        r.protocol: r.accuracy
        for r in evaluation.rows
        if (r.table, r.dataset, r.defence, r.attack, r.eps) == ("2", "mnist", "unet", "pgd", 0.15)
    }
    assert found["adaptive"] < found["static"]


def test_progress_rises_to_the_end(evaluation: Evaluation, heard: Any) -> None:
    assert [now.done for now in heard.done] == sorted(now.done for now in heard.done)
    assert heard.done[-1].done == heard.done[-1].total


def test_the_same_plan_gives_the_same_figures(evaluation: Evaluation) -> None:
    plan = replace(PLAN, datasets=("mnist",), tables=("2",), protocols=("as-published", "static"))
    again = reproduce(plan, unheard)
    before = {
        (r.defence, r.attack, r.eps, r.protocol): r.accuracy
        for r in evaluation.rows
        if r.dataset == "mnist" and r.table == "2"
    }
    assert all(before[r.defence, r.attack, r.eps, r.protocol] == r.accuracy for r in again.rows)
    assert again.rows


def test_pictures_follow_an_image_and_survive_the_run_folder(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path)
    pictures = read(tmp_path).pictures
    assert {(p.attack, p.eps) for p in pictures if p.protocol == "static"} == {("fgsm", 0.6), ("pgd", 0.15)}
    assert len({p.index for p in pictures if p.dataset == "mnist"}) == 2
    assert all(p.images.shape == (3, 28, 28, 1) for p in pictures)


@pytest.mark.slow
def test_retraining_leaves_weights_that_are_taken_again(tmp_path: Path, again: Any) -> None:
    plan = Plan(
        images=16, tables=("2",), datasets=("mnist",), share=0.005, retrain=True, protocols=("static",), out=tmp_path
    )
    reproduce(plan, again.progress)
    assert len(again.trained) == 4
    reproduce(plan, unheard)
    with pytest.raises(InputError, match="but its trained_on differ"):
        reproduce(replace(plan, share=0.01), unheard)
