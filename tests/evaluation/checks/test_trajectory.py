"""The loss along an attack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steelman.defences import StraightThrough
from steelman.evaluation.checks.recheck import first
from steelman.evaluation.checks.trajectory import loss, trajectory
from steelman.records import Trust


class Backwards(torch.autograd.Function):
    """The identity, with a gradient of the wrong sign."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Misleading(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Backwards.apply(x)


def test_the_margin_of_a_linear_model_rises_by_what_its_steps_gain(context, sound):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    asked = context(model)
    rows = first(asked, 64)
    path = trajectory(asked, rows)
    assert path.shape == (20, 64)
    weight = model[1].weight.detach()
    gain = (weight[1] - weight[0]).abs().sum() * 0.05 * 4 / 60
    torch.testing.assert_close(path[1] - path[0], gain.expand(64), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(path[-1] - path[0], (15 * gain).expand(64), rtol=1e-3, atol=1e-5)
    found = loss(asked)
    assert found.check.outcome == "pass"
    assert "rises on 64 of them" in found.check.measured


def test_a_loss_that_falls_cannot_be_trusted(context, sound):
    found = loss(context(nn.Sequential(Misleading(), *sound())))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.CANNOT_TELL)
    assert "rises on 0 of them" in found.check.measured


class Bump(nn.Module):
    """A margin that rises a little with the brightness and much, then falls again, between .5 and .55.

    The gradient says that it only rises.
    """

    def forward(self, x: Tensor) -> Tensor:
        margin = StraightThrough(self._margin, nn.Identity())(x.flatten(1).mean(1))
        return torch.stack([torch.zeros_like(margin), margin], 1)

    @staticmethod
    def _margin(brightness: Tensor) -> Tensor:
        return brightness - 1 + 1000 * (0.02 - (brightness - 0.525).abs()).relu()


def grey(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()


def test_a_rise_that_is_lost_again_cannot_be_trusted(context):
    found = loss(context(Bump(), x=grey(torch.full((64,), 0.5)), holds=True))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.CANNOT_TELL)
    assert "rises on 64 of them, and on 0 it keeps" in found.check.measured


def test_one_image_that_goes_back_does_not_hide_that_the_others_rise(context):
    values = torch.full((64,), 0.3)
    values[0] = 0.5
    found = loss(context(Bump(), x=grey(values), holds=True))
    assert found.check.outcome == "pass"
    assert "on 63 it keeps" in found.check.measured
