"""DeepFool: its steps against a loop from its paper, its changes against the optimum and a peer's."""

import math

import pytest
import torch
from torch import nn

from steelman.attacks import deepfool
from steelman.errors import InputError
from steelman.norms import L1, L2, Linf
from steelman.threat import Threat

from .test_fab import Recorder, images, network
from .test_peers import peer

NORMS = {"Linf": (Linf, math.inf, 1), "L2": (L2, 2, 2)}
each_norm = pytest.mark.parametrize("norm", NORMS)


def loop(model, x, y, dual, steps, overshoot):
    """Algorithm 2 of the paper on one image, with the 1e-4 of its code: what is shown, in order."""
    total, shown = torch.zeros_like(x), [x]
    while model(shown[-1][None]).argmax() == y and len(shown) <= steps:
        point = shown[-1].clone().requires_grad_()
        logits = model(point[None])[0]
        planes = []
        for c in set(range(len(logits))) - {y}:
            w = torch.autograd.grad(logits[c] - logits[y], point, retain_graph=True)[0]
            planes.append((float((logits[c] - logits[y]).abs().detach() / w.norm(dual)), w))
        distance, w = min(planes, key=lambda plane: plane[0])
        total = total + (distance + 1e-4) * (w.sign() if dual == 1 else w / w.norm())
        shown.append(x + (1 + overshoot) * total)
    return torch.stack(shown)


@each_norm
@pytest.mark.parametrize("overshoot", [0.02, 0.3])
def test_it_takes_the_papers_steps_where_there_is_no_box(norm, overshoot):
    model = network()
    x, y = images(model)
    ball, _, dual = NORMS[norm]
    for i in range(len(x)):
        recorder = Recorder(model)
        attack = deepfool(Threat(ball(), low=-math.inf, high=math.inf), candidates=10, overshoot=overshoot)
        found = attack(recorder, x[i : i + 1], y[i : i + 1])
        expected = loop(model, x[i], int(y[i]), dual, 50, overshoot)
        assert torch.allclose(torch.cat(recorder.shown), expected, atol=1e-9)
        assert torch.allclose(found.x[0], expected[-1], atol=1e-9)
        assert bool(found.broken[0]) == (int(model(found.x).argmax()) != int(y[i]))


@each_norm
@pytest.mark.parametrize("classes", [2, 6])
def test_on_a_linear_model_one_step_is_the_smallest_change_and_the_overshoot(norm, classes):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Linear(20, classes).double()
    x = torch.rand(16, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits, weight = model(x).detach(), model.weight.detach()
    y = logits.argmax(1)
    ball, _, dual = NORMS[norm]
    slope = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=dual, dim=2)
    least = ((logits.gather(1, y[:, None]) - logits) / slope).nan_to_num(torch.inf).amin(1)
    found = deepfool(Threat(ball(), low=-1e3, high=1e3))(model, x, y)
    assert found.broken.all()
    assert torch.allclose(found.distance, 1.02 * (least + 1e-4), rtol=1e-6)
    assert (found.forwards == 2).all()


@each_norm
def test_it_stays_in_the_box_and_stops_when_across(norm):
    model = network()
    x, y = images(model, 40)
    found = deepfool(NORMS[norm][0]())(model, x, y)
    assert found.broken.all()
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    assert found.forwards.max() < 40
    assert (found.backwards == 3 * found.forwards).all()


@each_norm
def test_an_image_without_a_gradient_stays_finite(norm):
    class Flat(nn.Module):
        def forward(self, x):
            high = x.clamp_min(0.5).sum(1)
            return torch.stack([high, 0 * high - 20], 1)

    found = deepfool(NORMS[norm][0](), steps=4)(Flat(), torch.full((2, 10), 0.2), torch.zeros(2, dtype=torch.int64))
    assert torch.isfinite(found.x).all()
    assert not found.broken.any()


@each_norm
def test_no_change_is_larger_than_adv_libs(norm):
    df = peer("adv_lib.attacks").df
    model = network(classes=10, dtype=torch.float32)
    x, y = images(network(classes=10), 100)
    x = x.float()
    with torch.random.fork_rng():
        theirs = df(model, x, y, steps=50, norm=NORMS[norm][1]).detach()
    ours = deepfool(NORMS[norm][0]())(model, x, y)
    size = torch.linalg.vector_norm(theirs - x, ord=NORMS[norm][1], dim=1)
    broken = model(theirs).argmax(1) != y
    assert int(ours.broken.sum()) >= int(broken.sum()) > 90
    assert float(ours.distance[broken].median()) <= 1.001 * float(size[broken].median())


@pytest.mark.parametrize("bad", [{"steps": 0}, {"overshoot": -0.1}, {"overshoot": math.nan}, {"candidates": 0}])
def test_settings_that_make_no_attack_are_errors(bad):
    with pytest.raises(InputError, match="expected"):
        deepfool(L2(), **bad)


def test_only_its_norms_are_known():
    with pytest.raises(InputError, match="Linf or L2 for deepfool"):
        deepfool(L1())
