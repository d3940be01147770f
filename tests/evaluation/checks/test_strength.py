"""One step, more steps, black box, transfer: what an evaluation left must hold against them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from steelman.evaluation.checks import black_box_checks
from steelman.evaluation.checks.black_box_checks import black_box, transferred
from steelman.evaluation.checks.recheck import Recheck, rarely
from steelman.evaluation.checks.strength import doubled, more_steps, one_step
from steelman.norms import L0, L2, Linf
from steelman.records import Trust
from steelman.threat import Threat


class Ditch(nn.Module):
    """Two logits by the mean pixel: the slope turns back at a third of eps, and only the whole eps breaks."""

    def forward(self, x: Tensor) -> Tensor:
        far = (x.flatten(1).mean(1) - 0.5) / 0.05
        score = torch.where(far > 0.95, 20 * (far - 0.95) + 1, -1 + torch.where(far < 0.3, far, 0.6 - far))
        return torch.stack([-score, score], 1)


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (15 * x).round() / 15


CHECKS = {"one step": one_step, "more steps": more_steps, "black box": black_box}


@pytest.mark.parametrize("name", CHECKS)
def test_what_holds_for_good_reason_passes(context, sound, name, monkeypatch):
    monkeypatch.setattr(black_box_checks, "_QUERIES", 200)
    found = CHECKS[name](context(sound()))
    assert found.check.outcome == "pass"
    assert "broke 0 of" in found.check.measured
    assert found.escalate == ()


@pytest.mark.parametrize(
    ("name", "attack"),
    [("one step", "fgsm on the margin"), ("more steps", "standard doubled"), ("black box", "square")],
)
def test_what_nobody_attacked_is_inflated_and_attacked_on_every_survivor(context, sound, name, attack):
    found = CHECKS[name](context(sound(), ball=Linf(0.1), holds=True))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)
    assert [made.name for made in found.escalate] == [attack]


def test_one_step_breaks_what_its_formula_says(context, sound, exact):
    model = sound()
    asked = context(model, ball=Linf(0.09), holds=True)
    near = int((exact(model, asked.x) < 0.09).sum())
    assert near == 25
    assert f"broke {near} of 64 images that held, {100 * near / 64:.1f} % of all 64" in more_steps(asked).check.measured


def test_one_step_that_jumps_over_a_ditch_shows_that_the_steps_of_pgd_do_not(context):
    x = 0.5 + 1e-4 * torch.randn(40, 1, 8, 8)
    found = one_step(context(Ditch(), x=x, holds=False))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)
    assert "20 steps of PGD broke 0, one step 40, of which 40 held" in found.check.measured


def test_twice_the_steps_and_starts_are_twice():
    attack = doubled(Threat(Linf(0.1)))
    assert [part.rule.steps for part in attack.attacks] == [40, 40, 80]
    assert [part.restarts for part in attack.attacks] == [1, 1, 8]
    assert attack.threat.eps == 0.1


def test_the_black_box_escalates_with_all_its_queries(context, sound):
    (attack,) = black_box(context(sound(), x=torch.rand(16, 1, 8, 8), holds=True, ball=L2(2.0))).escalate
    assert attack.rule.steps == 4998
    assert attack.threat.eps == 2.0


def test_the_black_box_needs_a_norm_that_its_search_has(context, sound):
    found = black_box(context(sound(), holds=True, ball=L0(3.0)))
    assert found.check.outcome == "not applicable"
    assert "L0" in found.check.measured


def test_transfer_without_a_bare_classifier_is_not_applicable(context, sound):
    assert transferred(context(sound())).check.outcome == "not applicable"


def test_transfer_that_breaks_what_knows_the_defence_left_is_inflated(context, sound):
    model = sound()
    asked = context(nn.Sequential(Rounded(), *model), ball=Linf(0.1), holds=True, undefended=model)
    found = transferred(asked)
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)
    assert [attack.name for attack in found.escalate] == ["transfer-pgd"]
    spent = context(nn.Sequential(Rounded(), *model), ball=Linf(0.1), holds=False, undefended=model)
    assert transferred(spent).check.outcome == "pass"


def test_static_images_of_the_evaluation_count_too(context, sound):
    static = torch.arange(64) >= 32
    asked = context(sound(1.0), ball=Linf(1e-4), holds=True, undefended=sound(), static=static)
    found = transferred(asked)
    assert found.check.outcome == "fail"
    assert "broke 32 of 64" in found.check.measured


def test_a_trial_counts_as_a_share_of_all_images():
    trial = Recheck(tried=50, broke=5, n=1000, kept=800)
    assert trial.share == pytest.approx(0.08)
    assert trial.allowed == pytest.approx(0.0254, abs=1e-3)
    assert trial.much
    assert not Recheck(tried=50, broke=1, n=1000, kept=1000).much
    assert not Recheck(tried=50, broke=2, n=50, kept=40).much
    assert not Recheck(tried=0, broke=0, n=50, kept=0).much


def test_the_sign_test_is_that_of_tossing_a_coin():
    assert rarely(1, 0) == 0.5
    assert rarely(3, 1) == pytest.approx(5 / 16)
    assert rarely(0, 0) == 1.0
