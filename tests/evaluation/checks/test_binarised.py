"""The binarisation test and its readouts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from steelman.attacks import pgd
from steelman.errors import InputError
from steelman.evaluation.checks.binarised import binarisation, planted
from steelman.evaluation.checks.readout import PenultimateFeatures, Readouts, fit, inner, last_linear, on_sphere
from steelman.norms import L1, L2, Linf
from steelman.records import Trust
from steelman.streams import Streams
from steelman.threat import Threat


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


class Few(nn.Module):
    """Two features of an image."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), x.flatten(1)[:, 0]], 1)


def deep() -> nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 3))
    for part in (model[1], model[3]):
        part.weight.data = torch.randn(part.weight.shape, generator=generator) / 8
    return model.eval()


def test_an_attack_finds_what_was_put_there_in_a_sound_model(context):
    found = binarisation(context(deep()))
    assert found.check.outcome == "pass"
    assert "of 32 of 32 images, 100 random points that of 0" in found.check.measured


def test_a_gradient_that_misleads_finds_nothing(context):
    found = binarisation(context(nn.Sequential(Misleading(), *deep())))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.CANNOT_TELL)
    assert "of 0 of 32 images" in found.check.measured


def test_features_that_cannot_tell_the_points_apart_make_no_test(context):
    found = binarisation(context(nn.Sequential(Few(), nn.Linear(2, 2)).eval(), holds=True))
    assert found.check.outcome == "not applicable"


def test_a_weak_attack_finds_less(context):
    asked = context(deep())
    rows = torch.arange(16)
    weak = planted(asked, [pgd(Linf(0.05), steps=1, size=1e-4)], rows, near=200)
    strong = planted(asked, [pgd(Linf(0.05))], rows, near=200)
    assert bool(strong.found.all())
    assert int(weak.found.sum()) == 0
    assert bool((weak.parted == strong.parted).all())


def test_a_readout_parts_the_points_half_way_and_goes_as_far_as_it_is_told():
    generator = torch.Generator().manual_seed(0)
    near = torch.randn(50, 6, generator=generator)
    far = torch.full((1, 6), 9.0)
    found = fit(near, far, spread=8.0)
    scores = torch.cat([near, far]).double() @ found.weight + found.bias
    assert found.parts
    assert float(scores[-1]) == pytest.approx(-float(scores[:-1].max()))
    assert float(scores.abs().max()) == pytest.approx(4.0)
    assert not fit(near, near.mean(0, keepdim=True), spread=1.0).parts


def test_each_row_is_read_by_its_own_readout_and_the_model_stays_as_it_is():
    model = deep()
    before = list(model.children())
    features = PenultimateFeatures(model, model[3])
    weight, bias = torch.randn(4, 96), torch.randn(4)
    x = torch.rand(6, 1, 8, 8)
    read = Readouts(features, weight, bias)(x)
    hidden = model[2](model[1](x.flatten(1)))
    own = torch.cat([weight, weight[:1], weight[:1]])
    score = (hidden * own).sum(1) + torch.cat([bias, bias[:1], bias[:1]])
    torch.testing.assert_close(read, torch.stack([-score, score], 1))
    assert list(model.children()) == before
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_the_last_linear_layer_is_the_one_that_runs_last_and_knows_the_classes():
    model, x = deep(), torch.rand(2, 1, 8, 8)
    assert last_linear(model, x, 3) is model[3]
    assert last_linear(model, x, 4) is None
    assert last_linear(nn.Flatten(), x, 64) is None
    torch.testing.assert_close(PenultimateFeatures(model, None)(x), model(x))


def test_features_of_another_number_of_rows_are_an_error():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 3)

        def forward(self, x):
            return self.head(x.flatten(1).repeat(2, 1))[: len(x)]

    model = Doubled()
    with pytest.raises(InputError, match="each of 2 images, got 4"):
        PenultimateFeatures(model, model.head)(torch.rand(2, 1, 8, 8))
    assert not model.head._forward_pre_hooks


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5), L1(2.0)])
def test_inner_points_are_inside_and_far_ones_on_the_sphere(ball):
    threat, x = Threat(ball), torch.rand(64, 1, 8, 8) * 0.4 + 0.3
    streams = Streams.of(0, torch.arange(64))
    near = threat.distance(inner(threat, x, streams), around=x)
    far = threat.distance(on_sphere(threat, x, streams), around=x)
    assert bool((near <= 0.95 * ball.eps + 1e-5).all())
    torch.testing.assert_close(far, torch.full_like(far, ball.eps), rtol=0.02, atol=0)
    assert bool(threat.holds(on_sphere(threat, x, streams), around=x).all())
