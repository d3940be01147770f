"""GAMA against a loop written from its paper: a relaxation that fades, steps that drop, corners to start at."""

import pytest
import torch

from steelman.attacks import Last, Worst, gama, gama_fw, pgd
from steelman.errors import InputError
from steelman.norms import L2, Linf

from .conformance import Network, images

EPS, STEPS = 0.1, 20


class Recorder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.shown = []

    def forward(self, x):
        self.shown.append(x.detach().clone())
        return self.model(x)


def gradient(model, x, clean, y, weight, sign):
    x = x.clone().requires_grad_()
    found, before = model(x).softmax(1), model(clean).softmax(1).detach()
    rows = torch.arange(len(x))
    rest = found.clone()
    rest[rows, y] = -1.0
    loss = sign * (rest.amax(1) - found[rows, y]) + weight * ((found - before) ** 2).sum(1)
    return torch.autograd.grad(loss.sum(), x)[0]


def drops(step, by):
    return by ** -(int(step >= 0.6 * STEPS) + int(step >= 0.85 * STEPS))


def walk_pgd(x, clean, grad, step):
    moved = x + 2 * EPS * drops(step, 10.0) * grad.sign()
    return torch.max(torch.min(moved, clean + EPS), clean - EPS).clamp(0, 1)


def walk_fw(x, clean, grad, step):
    part = 0.5 * drops(step, 5.0)
    moved = (1 - part) * x + part * (clean + EPS * grad.sign())
    return torch.max(torch.min(moved, clean + EPS), clean - EPS).clamp(0, 1)


@pytest.mark.parametrize(("recipe", "walk"), [(gama, walk_pgd), (gama_fw, walk_fw)])
@pytest.mark.parametrize("targeted", [False, True])
def test_it_walks_as_its_paper_says(recipe, walk, targeted):
    model = Network()
    x, y, _ = images(model, 12)
    y = (y + 1) % 4 if targeted else y
    recorder = Recorder(model)
    recipe(Linf(EPS), steps=STEPS, targeted=targeted).with_goal(Last())(recorder, x, y, seed=1)
    clean, seen = recorder.shown[0], recorder.shown[1:]
    assert torch.equal(clean, x)
    assert len(seen) == STEPS + 1
    offset = (seen[0] - x).abs()
    inside = (seen[0] > 0) & (seen[0] < 1)
    assert torch.allclose(offset[inside], torch.full_like(offset[inside], EPS))
    assert 0.4 < float((seen[0] > x)[inside].double().mean()) < 0.6
    for step in range(STEPS):
        weight = max(0.0, 50 * (1 - step / 5))
        grad = gradient(model, seen[step], x, y, weight, -1 if targeted else 1)
        expected = walk(seen[step], x, grad, step)
        far = grad.abs() > 1e-12
        assert torch.allclose(seen[step + 1][far], expected[far], atol=1e-9), step


def test_it_is_no_weaker_than_pgd_with_as_many_gradients():
    model = Network(scale=3.0)
    x, y, _ = images(model, 200)
    plain = pgd(Linf(0.06), steps=40).with_goal(Worst())(model, x, y)
    for recipe in (gama, gama_fw):
        result = recipe(Linf(0.06), steps=40).with_goal(Worst())(model, x, y)
        assert int(result.broken.sum()) >= int(plain.broken.sum()) - 2


@pytest.mark.parametrize("recipe", [gama, gama_fw])
def test_another_norm_is_an_error(recipe):
    with pytest.raises(InputError, match="expected Linf for gama"):
        recipe(L2(0.1))
