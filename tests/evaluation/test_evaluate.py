"""Static and adaptive side by side, from one call."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman import attacks, defences
from steelman.data import Images
from steelman.errors import InputError
from steelman.evaluation import measure
from steelman.evaluation.evaluate import evaluate
from steelman.norms import L2, Linf


def images(n: int = 40) -> Images:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 1, 8, 8, generator=generator) * 0.6 + 0.2
    return Images(x, (linear()(x)).argmax(1), ("a", "b", "c"), "noise test")


def linear() -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    layer = nn.Linear(64, 3)
    layer.weight.data = torch.randn(3, 64, generator=generator)
    layer.bias.data.zero_()
    return nn.Sequential(nn.Flatten(), layer).eval()


class Smooth(nn.Module):
    """Averages over neighbours, which takes away what an attack on the classifier alone put there."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1)


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.05 * torch.randn_like(x)


def cells(evaluation: object) -> dict[tuple[str, str, str, float], float]:
    return {(r.defence, r.protocol, r.attack, r.eps): r.accuracy for r in evaluation.rows}  # type: ignore[attr-defined]


def test_an_undefended_model_has_adaptive_rows_alone() -> None:
    evaluation = evaluate(linear(), images(), [attacks.fgsm(Linf(0.1)), attacks.pgd(Linf(0.1), steps=5)])
    assert set(cells(evaluation)) == {
        ("none", "adaptive", "none", 0.0),
        ("none", "adaptive", "fgsm", 0.1),
        ("none", "adaptive", "pgd", 0.1),
        ("none", "adaptive", "worst of all", 0.1),
    }
    each = [cells(evaluation)["none", "adaptive", name, 0.1] for name in ("fgsm", "pgd")]
    assert cells(evaluation)["none", "adaptive", "worst of all", 0.1] <= min(each)
    found = attacks.fgsm(Linf(0.1))(linear(), images().x, images().y).accuracy
    assert cells(evaluation)["none", "adaptive", "fgsm", 0.1] == pytest.approx(found)
    assert evaluation.rows[0].accuracy == 1.0


def test_a_defence_is_seen_from_both_sides_and_the_adaptive_attacker_differentiates_it() -> None:
    stage = defences.StraightThrough(Smooth(), backward=Smooth())
    attack = attacks.pgd(Linf(0.4), steps=20)
    evaluation = evaluate(defences.guard(stage, linear()), images(), attack, undefended=linear(), defence="smooth")
    found = cells(evaluation)
    assert found["smooth", "adaptive", "pgd", 0.4] < found["smooth", "static", "pgd", 0.4]
    assert {key[1] for key in found} == {"static", "adaptive"}
    assert evaluation.pictures[0].defence == "smooth"
    assert evaluation.pictures[0].images.shape == (3, 8, 8, 1)


def test_a_random_pipeline_is_found_out_averaged_and_reproducible() -> None:
    pipeline = defences.guard(Noise(), linear())
    assert measure.is_random(pipeline, images().x, images().y)
    assert not measure.is_random(linear(), images().x, images().y)
    bare, some = linear(), images()
    before = torch.get_rng_state()
    once, twice = (evaluate(pipeline, some, attacks.fgsm(Linf(0.05)), undefended=bare) for _ in range(2))
    assert once.rows == twice.rows
    assert any("averag" in note for note in once.notes)
    assert torch.equal(before, torch.get_rng_state())


def test_progress_ends_at_the_last_image_of_the_last_attack() -> None:
    heard = []
    evaluate(linear(), images(), [attacks.fgsm(Linf(0.1)), attacks.fgsm(Linf(0.2))], observe=heard.append)
    assert (heard[-1].at, heard[-1].of, heard[-1].progress.done, heard[-1].progress.total) == (1, 2, 40, 40)


@pytest.mark.parametrize(
    ("listed", "message"),
    [([], "expected at least one attack"), (replace(attacks.fgsm(Linf(0.1)), targeted=True), "expected untargeted")],
)
def test_wrong_attacks_are_one_clear_error(listed: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(linear(), images(), listed)  # type: ignore[arg-type]


def test_nan_logits_are_one_clear_error() -> None:
    broken = nn.Sequential(linear(), nn.Threshold(1e9, float("nan")))
    with pytest.raises(InputError, match="expected finite logits"):
        evaluate(broken, images(), attacks.fgsm(Linf(0.1)))


def test_a_tie_is_no_right_answer_with_or_without_an_attack() -> None:
    class Undecided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x.flatten(1)[:, :3]

    evaluation = evaluate(Undecided(), images(), attacks.pgd(Linf(0.1), steps=2))
    assert [row.accuracy for row in evaluation.rows] == [0.0, 0.0]


def test_small_logits_are_read_as_large_ones() -> None:
    class Tiny(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1e-9 * bare(x)

    bare = linear()
    x, y = images().x, images().y
    assert measure.right(Tiny(), x, y).all()


def test_a_random_model_is_not_broken_by_a_lucky_draw() -> None:
    pipeline, some = defences.guard(Noise(), linear()), images()
    unattacked = measure.right(pipeline, some.x, some.y, draws=measure.DRAWS).float().mean()
    kept, _ = measure.survive([attacks.pgd(Linf(0.0), steps=20)], pipeline, some.x, some.y, indices=some.indices)
    assert abs(float(kept.float().mean() - unattacked)) <= 0.1


def test_rows_carry_exact_intervals() -> None:
    row = measure.row(torch.tensor([True] * 95 + [False] * 5), **_fields())
    assert (row.n, row.accuracy) == (100, 0.95)
    assert (row.ci_low, row.ci_high) == pytest.approx((0.88717, 0.98357), abs=1e-4)


def _fields() -> dict[str, object]:
    return {
        "table": "evaluate",
        "dataset": "d",
        "classifier": "c",
        "defence": "none",
        "attack": "none",
        "eps": 0.0,
        "protocol": "adaptive",
    }


def test_what_no_ball_describes_stands_apart_and_a_search_without_a_radius_is_an_error() -> None:
    listed = [attacks.spatial(grid=(3, 3)), attacks.fgsm(Linf(0.1)), attacks.standard(Linf(0.1), queries=20)]
    evaluation = evaluate(linear(), images(), listed)
    rows = {row.attack: row for row in evaluation.rows}
    assert (rows["spatial"].norm, rows["spatial"].eps) == ("none", 0.0)
    assert (rows["standard"].norm, rows["standard"].eps) == ("Linf", 0.1)
    assert rows["worst of all"].accuracy == min(rows["fgsm"].accuracy, rows["standard"].accuracy)
    with pytest.raises(InputError, match="expected a radius for ddn"):
        evaluate(linear(), images(), attacks.ddn(L2()))


def test_a_cascade_lets_broken_images_go_in_the_static_column_too() -> None:
    evaluation = evaluate(
        defences.guard(Smooth(), linear()), images(), attacks.standard(Linf(0.1), queries=20), undefended=linear()
    )
    assert any("cascade" in note for note in evaluation.notes)
    assert cells(evaluation)["none", "static", "standard", 0.1] < 1
