"""All checks at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from steelman import data, models
from steelman.errors import InputError
from steelman.evaluation import checks
from steelman.evaluation.checks import CheckContext, binarised, black_box_checks
from steelman.norms import L0, L2, Linf
from steelman.progress import Progress
from steelman.records import Trust


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of a fifth of its length, and a fifth of the inner points: the full ones are tested by themselves."""
    monkeypatch.setattr(black_box_checks, "_QUERIES", 200)
    monkeypatch.setattr(binarised, "INNER", 200)


class Outside(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()[..., :4].repeat(1, 1, 1, 2).unsqueeze(1)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1e-3 * torch.randn_like(x)


def said(found: tuple[checks.Finding, ...]) -> dict[str, str]:
    return {finding.check.name: finding.check.outcome for finding in found}


@pytest.mark.parametrize("ball", [Linf(0.02), L2(0.2)])
def test_a_sound_model_fails_nothing_and_holds_up(context, sound, ball):
    asked = context(sound(), ball=ball)
    heard: list[Progress] = []
    found = checks.check(asked, heard.append)
    outcomes = said(found)
    assert list(outcomes) == list(checks.catalogue.shipped)
    assert "fail" not in outcomes.values(), [one.check for one in found if one.check.outcome == "fail"]
    assert checks.verdict(found, n=asked.n, kept=asked.kept).word is Trust.TRUSTED
    assert [now.done for now in heard] == list(range(1, len(checks.catalogue.shipped) + 1))


def test_the_same_seed_says_the_same_and_leaves_everything_as_it_was(context, sound):
    model = nn.Sequential(*sound(), nn.BatchNorm1d(3)).train()
    asked = context(model)
    weights = [value.clone() for value in model.state_dict().values()]
    state = torch.random.get_rng_state()
    once, again = checks.check(asked), checks.check(asked)
    assert [one.check for one in once] == [one.check for one in again]
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(part.training for part in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    for before, now in zip(weights, model.state_dict().values(), strict=True):
        assert torch.equal(before, now)


def test_double_precision(context, sound):
    asked = context(sound().double(), x=torch.rand(32, 1, 8, 8, dtype=torch.float64) * 0.5 + 0.25)
    assert "fail" not in said(checks.check(asked)).values()


def test_without_a_gradient_checks_that_need_one_are_not_applicable(context, sound):
    asked = context(nn.Sequential(Outside(), *sound()), ball=Linf(0.15), holds=True)
    found = checks.check(asked)
    outcomes = said(found)
    for name in ("smoothness", "loss", "one step", "more steps", "accuracy over eps", "large eps", "binarisation"):
        assert outcomes[name] == "not applicable", name
    assert outcomes["gradients"] == "fail"
    assert outcomes["black box"] == "fail"
    assert checks.verdict(found, n=asked.n, kept=asked.kept).word is Trust.INFLATED


def test_a_norm_without_such_attacks_leaves_it_open(context, sound):
    asked = context(sound(), ball=L0(3.0), holds=True)
    found = checks.check(asked)
    assert said(found)["black box"] == "not applicable"
    assert checks.verdict(found, n=asked.n, kept=asked.kept).word is Trust.CANNOT_TELL


def test_no_images_at_all(context, sound):
    asked = context(sound(), holds=False)
    empty = torch.zeros(64, dtype=torch.bool)
    x, y, indices = asked.take(empty)
    nobody = CheckContext(**{**vars(asked), "x": x, "y": y, "indices": indices, "holds": empty[:0]})
    assert "fail" not in said(checks.check(nobody)).values()


@pytest.mark.parametrize(("name", "eps"), [("mnist/cnn", 0.1), ("mnist/cnn-linf", 0.3)])
def test_no_alarm_over_a_shipped_model(context: Callable[..., CheckContext], name: str, eps: float) -> None:
    images = data.load("mnist").test.sample(8, 0)
    asked = context(models.load(name), x=images.x, ball=Linf(eps))
    found = checks.check(asked)
    assert "fail" not in said(found).values(), [one.check for one in found if one.check.outcome == "fail"]


def test_no_random_pipeline_is_asked_for_fixed_features(context: Callable[..., CheckContext], sound: Any) -> None:
    asked = context(nn.Sequential(Noisy(), *sound()), ball=Linf(0.02), x=torch.rand(24, 1, 8, 8) * 0.5 + 0.25)
    outcomes = said(checks.check(asked))
    assert outcomes["binarisation"] == "not applicable"
    assert "fail" not in outcomes.values()


@pytest.mark.gpu
def test_on_a_gpu_with_indices_elsewhere(context: Callable[..., CheckContext], sound: Any) -> None:
    asked = context(sound().cuda(), x=(torch.rand(32, 1, 8, 8) * 0.5 + 0.25).cuda(), ball=Linf(0.02))
    assert asked.indices.device.type == "cpu"
    outcomes = said(checks.check(asked))
    assert "fail" not in outcomes.values()
    assert outcomes["binarisation"] == "pass"


def darkness(context):
    """Images are dark.

    More than that is not its claim.
    """
    return checks.passed(f"{len(context.x)} images are dark.")


def of_no_norm(context):
    raise InputError(f"there is no darkness of {context.threat.ball.name}")


def breaking(context):
    return 1 / 0


def test_checks_of_ones_own_come_after_those_that_ship(context, sound):
    extra = checks.named([darkness, of_no_norm, breaking])
    found = checks.check(context(sound()), asked={"loss": checks.catalogue["loss"], **extra})
    assert [one.check.name for one in found] == ["loss", "darkness", "of no norm", "breaking"]
    assert found[0].check.claim == "The loss rises along an iterated attack."
    assert (found[1].check.claim, found[1].check.outcome) == ("Images are dark.", "pass")
    assert found[2].check.measured == "There is no darkness of Linf."
    assert found[3].check.outcome == "not applicable"
    assert found[3].check.measured == "It broke down: ZeroDivisionError: division by zero."


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["los"], "name of a check, got 'los': did you mean loss"),
        (["loss"], "expected each check once, got another 'loss'"),
        ([darkness, darkness], "expected each check once, got another 'darkness'"),
        ([3], "a function or a class as the check int, got int"),
        (["mine.py:darkness"], "would run code"),
    ],
)
def test_a_check_that_is_none_is_one_line(asked, told):
    with pytest.raises(InputError, match=told):
        checks.named(asked)
