"""The article's comparison, on noise and with networks of two channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from steelman import data, weights
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.progress import Progress
from steelman.records import Evaluation, read
from steelman.report import tables, to_html
from steelman.studies.article import ArticlePlan, compare, contestants
from steelman.training import Recipe

NAMES = ["none", "FGSM mixed", "PGD", "PGD, logit pairing", "PGD, denoising (nonlocal-dot)"]


def noise(n: int, name: str) -> Images:
    generator = torch.Generator().manual_seed(n)
    x = torch.rand(n, 1, 16, 16, generator=generator)
    return Images(x, torch.arange(n) % 3, ("a", "b", "c"), name)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    made = Data("mnist", noise(60, "mnist train"), noise(20, "mnist test"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: made)
        yield


def plan(out: Path, **changes: object) -> ArticlePlan:
    recipe = Recipe(epochs=1, batch_size=22, precision="fp32")
    small = ArticlePlan(dataset="mnist", width=2, share=0.8, steps=2, recipe=recipe, images=8, noised=6, out=out)
    return replace(small, **changes)


def study(chosen: ArticlePlan, heard: Any) -> Evaluation:
    return compare(chosen, heard.progress)


@pytest.fixture(scope="module")
def evaluation(folder: Path, heard: Any) -> Evaluation:
    return study(plan(folder), heard)


def test_five_networks_are_trained_once_and_measured_the_same_the_next_time(
    evaluation: Evaluation, heard: Any, again: Any, folder: Path
) -> None:
    assert study(plan(folder), again).rows == evaluation.rows
    assert len(heard.trained) == 5
    assert again.trained == []
    assert [done.title for done in heard.done] == [*NAMES, "done"]
    assert not list(folder.rglob("*.checkpoint"))


def test_every_network_has_its_rows_under_attacks_seen_and_not(evaluation: Evaluation) -> None:
    cells = [(row.defence, row.attack, row.norm, row.eps) for row in evaluation.rows]
    attacks = [("none", "Linf", 0.0), ("fgsm", "Linf", 0.3), ("pgd", "Linf", 0.3), ("ddn", "L2", 2.0)]
    attacks += [("square", "Linf", 0.3), ("spatial", "none", 0.0)]
    assert cells == [(name, *attack) for name in NAMES for attack in attacks]
    for row in evaluation.rows:
        assert (row.n, row.protocol, row.table) == (8, "adaptive", "training")
        assert row.ci_low <= row.accuracy <= row.ci_high


def test_features_stand_before_and_after_each_block(evaluation: Evaluation, tmp_path: Path) -> None:
    plain, _, robust, _, after = evaluation.features
    assert [one.defence for one in evaluation.features] == NAMES
    assert [layer.name for layer in plain.layers] == [f"stage {k}" for k in (1, 2, 3, 4)]
    assert [layer.name for layer in robust.layers] == [layer.name for layer in plain.layers]
    names = [f"stage {k}{denoised}" for k in (1, 2, 3, 4) for denoised in ("", ", denoised")]
    assert [layer.name for layer in after.layers] == names
    assert after.n == 6
    assert all(layer.noise > 0 for layer in plain.layers)
    assert [layer.maps.shape[-1] for layer in plain.layers] == [8, 4, 2, 1]
    evaluation.write(tmp_path)
    assert len(read(tmp_path).features) == 5
    assert tables(evaluation)
    assert "stage 4, denoised" in to_html(evaluation)


def test_networks_differ_in_nothing_but_what_is_compared(evaluation: Evaluation, folder: Path) -> None:
    files = [folder / "weights" / "mnist" / f"resnet18-{one.key}.safetensors" for one in contestants(plan(folder))]
    natural, mixed, robust, paired, denoised = (weights.read(path)[1] for path in files)
    assert robust["objective"] == denoised["objective"]
    assert len({one["objective"] for one in (natural, mixed, robust, paired)}) == 4
    assert all(one["recipe"] == natural["recipe"] for one in (mixed, robust, paired, denoised))
    assert denoised["arguments"] == {**robust["arguments"], "denoise": "nonlocal-dot"}
    assert "size=0.375" in robust["objective"]


def test_weights_made_in_another_way_are_refused(evaluation: Evaluation, again: Any, folder: Path) -> None:
    with pytest.raises(InputError, match="but its objective differ"):
        study(plan(folder, steps=3), again)
    with pytest.raises(InputError, match="but its arguments differ"):
        study(plan(folder, width=3), again)
    with pytest.raises(InputError, match="but its trained_on differ"):
        study(plan(folder, share=0.5), again)


def test_what_cannot_be_studied_is_refused(again: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known radii"):
        study(plan(tmp_path, dataset="cifar-10"), again)
    with pytest.raises(InputError, match="denoising operation"):
        study(plan(tmp_path, operation="blur"), again)
    with pytest.raises(InputError, match="share"):
        study(plan(tmp_path, share=0.0), again)


class KilledError(Exception):
    pass


def test_a_killed_training_goes_on_where_it_was(tmp_path: Path) -> None:
    """The first network is killed in its second epoch; the next time the run is stopped before the second network."""
    two = plan(tmp_path, recipe=Recipe(epochs=2, batch_size=22, precision="fp32"))
    steps: list[list[float]] = []

    def progress(now: Progress) -> None:
        if now.inside is None or "FGSM" in now.inside.title:
            raise KilledError
        steps[-1].append(now.inside.done)
        if len(steps) == 1 and now.inside.done == now.inside.total:
            raise KilledError

    for _ in range(2):
        steps.append([])
        with pytest.raises(KilledError):
            compare(two, progress)
    assert steps == [[1, 2, 3, 4], [3, 4]]
