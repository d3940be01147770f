"""The loss along an attack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steelman.evaluation.checks.trajectory import loss, trajectory
from steelman.evaluation.checks.trial import first


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


def test_the_margin_of_a_linear_model_rises_by_what_its_steps_gain(subject, sound):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    asked = subject(model)
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


def test_a_loss_that_falls_cannot_be_trusted(subject, sound):
    found = loss(subject(nn.Sequential(Misleading(), *sound())))
    assert (found.check.outcome, found.check.says) == ("fail", "cannot tell")
    assert "rises on 0 of them" in found.check.measured
