"""Gradients that are not there, that a softmax rounds away, that say nothing of a step."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from steelman.attacks.engine.estimators import Blurred
from steelman.evaluation.checks.gradient_quality import gradients, saturation, smoothness
from steelman.norms import Linf
from steelman.records import Trust


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (15 * x).round() / 15


class Outside(nn.Module):
    """Half of the pixels, by way of an array: autograd sees them come from nowhere."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()[..., :4].repeat(1, 1, 1, 2).unsqueeze(1)


class Rippled(nn.Module):
    """Logits with a ripple far finer than eps, whose slope is ten times theirs."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits + 0.05 * torch.sin(200 * logits)


def test_a_gradient_on_every_image_passes(context, sound):
    found = gradients(context(sound()))
    assert found.check.outcome == "pass"
    assert "zero on 0 of 64 images" in found.check.measured


def test_a_stage_without_a_gradient_is_named(context, sound):
    found = gradients(context(nn.Sequential(Rounded(), *sound())))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.CANNOT_TELL)
    assert "0 (Rounded) has a gradient of zero on 100% of the images" in found.check.measured
    assert "BPDA" in found.check.measured


def test_a_pipeline_that_no_gradient_comes_through_is_told_of(context, sound):
    found = gradients(context(nn.Sequential(Outside(), *sound()), holds=True))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.CANNOT_TELL)
    assert "No gradient comes through: stage 0 (Outside) has no gradient" in found.check.measured


def test_a_loss_without_a_gradient_fails_though_no_stage_lacks_one(context, sound):
    asked = context(sound())
    layer = asked.attacker.paths[0].model[1]
    layer.weight.data.zero_()
    found = gradients(asked)
    assert found.check.outcome == "fail"
    assert "zero on 64 of 64 images" in found.check.measured


def test_saturated_logits_are_inflated_where_the_margin_breaks_more(context, sound, exact):
    model = sound(1e5)
    asked = context(model, ball=Linf(0.1), holds=True)
    found = saturation(asked)
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)
    near = int((exact(model, asked.x) < 0.099).sum())
    assert near > 32
    broke = int(found.check.measured.split(" broke ")[1].split()[0])
    assert near <= broke <= int((exact(model, asked.x) < 0.1).sum())
    assert [attack.name for attack in found.escalate] == ["pgd on the margin"]


def test_saturated_logits_pass_where_they_hide_nothing(context, sound):
    found = saturation(context(sound(1e5)))
    assert found.check.outcome == "pass"
    assert "no gradient on 64 of 64 images" in found.check.measured
    assert saturation(context(sound(0.1))).check.measured.startswith("The softmax in float32 leaves no gradient on 0")


def test_a_linear_model_does_what_its_gradient_foretells(context, sound):
    found = smoothness(context(sound()))
    assert found.check.outcome == "pass"
    assert "cosine of 1.00" in found.check.measured
    assert "by 1.00 of what it foretells" in found.check.measured


def test_shattered_gradients_fail_and_are_averaged_on_every_survivor(context, sound):
    asked = context(nn.Sequential(*sound(), Rippled()), ball=Linf(0.15), holds=True)
    found = smoothness(asked)
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)
    (attack,) = found.escalate
    assert attack.name == "pgd on mean gradients"
    assert isinstance(attack.gradient, Blurred)
    assert attack.gradient.sigma == 0.15 / 2


def test_shattered_gradients_cannot_be_trusted_where_nothing_breaks(context, sound):
    found = smoothness(context(nn.Sequential(*sound(), Rippled()), holds=False))
    assert (found.check.outcome, found.check.on_fail, found.escalate) == ("fail", Trust.CANNOT_TELL, ())


def test_smoothness_is_not_asked_of_noise(context, sound):
    asked = context(sound())
    noisy = replace(asked, attacker=replace(asked.attacker, draws=10))
    assert smoothness(noisy).check.outcome == "not applicable"


def test_of_a_stand_in_only_the_mean_gradient_is_tried(context, sound):
    found = smoothness(context(nn.Sequential(Rounded(), *sound())))
    assert found.check.outcome == "pass"
    assert "is a stand-in's" in found.check.measured
    assert "averaged around the image broke 1 of 48" in found.check.measured
    assert len(found.escalate) == 1


def test_a_stand_in_whose_mean_breaks_much_more_is_inflated(context, sound):
    model = nn.Sequential(*sound(), Rippled())
    model.stands_in = True
    found = smoothness(context(model, ball=Linf(0.15), holds=True))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)
    assert [attack.name for attack in found.escalate] == ["pgd on mean gradients"]
