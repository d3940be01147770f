"""Accuracy against eps: it falls, does not rise, and comes down to guessing and to nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.evaluation.checks.radii import all_alike, chance, over_eps, unbounded
from steelman.norms import L0, L1, L2, Linf
from steelman.records import Trust
from steelman.threat import Threat


class Backwards(torch.autograd.Function):
    """The identity, with a gradient of the wrong sign."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Bright(nn.Module):
    """Two logits by whether the mean pixel is above .95, where only a move of all pixels at once leads."""

    def forward(self, x: Tensor) -> Tensor:
        score = Backwards.apply(x).flatten(1).mean(1) - 0.95
        return torch.stack([-score, score], 1)


class Gap(nn.Module):
    """Two logits by the mean pixel, which break in a narrow band alone: small steps find it, large ones jump over."""

    def forward(self, x: Tensor) -> Tensor:
        far = x.flatten(1).mean(1) - 0.5
        score = torch.where((far > 0.0085) & (far < 0.0105), 1.0, -1.0) + far.clamp(max=0.0105)
        return torch.stack([-score, score], 1)


class Abstaining(nn.Module):
    abstains = True

    def forward(self, logits: Tensor) -> Tensor:
        return torch.cat([logits, logits.new_full((len(logits), 1), -1e3)], 1)


def test_a_linear_model_falls_to_guessing_and_to_nothing(context, sound):
    asked = context(sound())
    for check in (over_eps, chance, unbounded):
        assert check(asked).check.outcome == "pass"
    assert "0.00 at 0.5" in over_eps(asked).check.measured
    assert unbounded(asked).check.measured == "At eps 1, which allows any image, 0 of 32 hold."


def test_a_gradient_that_misleads_is_found_by_attacks_that_cannot_fail(context):
    asked = context(Bright())
    for check in (chance, unbounded):
        found = check(asked).check
        assert (found.outcome, found.on_fail) == ("fail", Trust.INFLATED)


def test_accuracy_that_falls_nowhere_fails(context):
    found = over_eps(context(Bright())).check
    assert found.outcome == "fail"
    assert "It falls nowhere" in found.measured


@pytest.mark.parametrize(("eps", "says"), [(0.04, Trust.INFLATED), (0.01, Trust.CANNOT_TELL)])
def test_accuracy_that_rises_fails_by_where_it_rises(context, eps, says):
    x = 0.5 + 1e-4 * torch.randn(48, 1, 8, 8)
    found = over_eps(context(Gap(), x=x, ball=Linf(eps), holds=True)).check
    assert (found.outcome, found.on_fail) == ("fail", says), found.measured
    assert "It rises" in found.measured


def test_the_radius_at_which_all_images_are_alike(context, sound):
    model = sound()
    assert all_alike(context(model)) == 0.5
    assert all_alike(context(model, ball=L2(0.1))) == pytest.approx(4.0)
    assert all_alike(context(model, ball=L1(0.1))) == 32
    assert all_alike(context(model, threat=Threat(Linf(0.1), low=-1.0, high=3.0))) == 2
    for threat in (Threat(L0(3.0)), Threat(Linf(0.1), low=-math.inf, high=math.inf)):
        with pytest.raises(InputError, match="no radius"):
            all_alike(context(model, threat=threat, holds=True))


def test_a_model_that_may_abstain_need_not_come_down(context, sound):
    with pytest.raises(InputError, match="abstain"):
        chance(context(nn.Sequential(*sound(), Abstaining())))


def test_a_largest_class_of_all_images_cannot_be_fallen_short_of(context):
    asked = context(Bright(), largest=1.0)
    assert chance(asked).check.outcome == "pass"
