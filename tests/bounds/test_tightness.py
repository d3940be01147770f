"""How near the bounds are to the truth: closed forms, a dense reference, linear and mixed-integer programs."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from torch import nn

from steelman import bounds, data, models
from steelman.norms import L2, Linf
from steelman.threat import Threat

EPS = 0.1


def mlp(*widths, activation=nn.ReLU):
    layers = []
    for inside, outside in pairwise(widths):
        layers += [nn.Linear(inside, outside), activation()]
    return nn.Sequential(*layers[:-1]).double().eval().requires_grad_(False)


def weights(model):
    return [(m.weight.numpy(), m.bias.numpy()) for m in model if isinstance(m, nn.Linear)]


def ends(x, eps=EPS):
    return np.maximum(x - eps, 0), np.minimum(x + eps, 1)


def largest(row, shift, low, high):
    return np.maximum(row, 0) @ high + np.minimum(row, 0) @ low + shift


def test_a_linear_network_is_bounded_exactly():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4))
    model = model.double().eval().requires_grad_(False)
    nn.init.uniform_(model[1].running_mean)
    x, y = torch.rand(5, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    shift = model(torch.zeros(1, 1, 8, 8, dtype=torch.float64))[0]
    matrix = (model(torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)) - shift).T
    low, high = (x - EPS).clamp(min=0).flatten(1), (x + EPS).clamp(max=1).flatten(1)
    exact = high @ matrix.clamp(min=0).T + low @ matrix.clamp(max=0).T + shift
    assert torch.allclose(bounds.crown(model, x, EPS).upper, exact, atol=1e-9)
    assert bool((bounds.interval(model, x, EPS).upper >= exact - 1e-12).all())
    rows = matrix - matrix[y][:, None]
    margin = (
        (rows.clamp(min=0) @ high[..., None] + rows.clamp(max=0) @ low[..., None])[..., 0] + shift - shift[y][:, None]
    )
    margin = margin.scatter(1, y[:, None], -torch.inf).amax(1)
    for method in bounds.METHODS:
        assert torch.allclose(bounds.margins(model, x, y, EPS, method), margin, atol=1e-9)


def test_a_linear_network_is_bounded_exactly_in_l2():
    model = mlp(6, 3)
    x = torch.full((1, 6), 0.5, dtype=torch.float64)
    found = bounds.crown(model, x, L2(0.3))
    assert torch.allclose(found.upper, model(x) + 0.3 * model[0].weight.norm(dim=1), atol=1e-9)
    assert torch.allclose(found.lower, model(x) - 0.3 * model[0].weight.norm(dim=1), atol=1e-9)


def dense_crown(layers, x, tighten):
    """CROWN on a dense ReLU network, one image, written with matrices: upper bounds of the outputs."""
    low, high = ends(x)
    boxes = []

    def back(row, shift, depth):
        """The largest of row · (pre-activation of layer `depth`) + shift."""
        weight, bias = layers[depth]
        row, shift = row @ weight, shift + row @ bias
        for at in reversed(range(depth)):
            lo, up = boxes[at]
            chord = np.where(up <= 0, 0, np.where(lo >= 0, 1, up / np.where(up > lo, up - lo, 1)))
            offset = np.where((lo < 0) & (up > 0), -up * lo / np.where(up > lo, up - lo, 1), 0)
            under = np.where(lo >= 0, 1, np.where(up <= 0, 0, up > -lo))
            shift = shift + np.maximum(row, 0) @ offset
            row = np.maximum(row, 0) * chord + np.minimum(row, 0) * under
            row, shift = row @ layers[at][0], shift + row @ layers[at][1]
        return largest(row, shift, low, high)

    lo, up = low, high
    for depth, (weight, bias) in enumerate(layers):
        eye = np.eye(len(bias))
        middle, reach = (lo + up) / 2, (up - lo) / 2
        lo, up = weight @ middle + bias - abs(weight) @ reach, weight @ middle + bias + abs(weight) @ reach
        if depth and (tighten or depth == len(layers) - 1):
            open_ = ((lo < 0) & (up > 0)) | (depth == len(layers) - 1)
            above = np.array([back(row, 0, depth) for row in eye])
            below = np.array([-back(-row, 0, depth) for row in eye])
            lo, up = np.where(open_, np.maximum(lo, below), lo), np.where(open_, np.minimum(up, above), up)
        boxes.append((lo, up))
        lo, up = np.maximum(lo, 0), np.maximum(up, 0)
    return boxes[-1]


@pytest.mark.parametrize("widths", [(6, 10, 4), (6, 10, 9, 4), (5, 8, 8, 8, 3)])
@pytest.mark.parametrize("how", ["ibp", "crown"])
def test_crown_is_that_of_a_dense_reference(widths, how):
    model = mlp(*widths)
    x = torch.rand(4, widths[0], dtype=torch.float64)
    found = bounds.crown(model, x, EPS, how)
    for image, lower, upper in zip(x, *found, strict=True):
        low, high = dense_crown(weights(model), image.numpy(), tighten=how == "crown")
        assert np.allclose(lower, low, atol=1e-9)
        assert np.allclose(upper, high, atol=1e-9)


def test_intervals_are_those_of_a_dense_reference():
    model = mlp(6, 10, 9, 4)
    x = torch.rand(3, 6, dtype=torch.float64)
    low, high = ends(x.numpy())
    for at, (weight, bias) in enumerate(weights(model)):
        if at:
            low, high = np.maximum(low, 0), np.maximum(high, 0)
        positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
        low, high = low @ positive.T + high @ negative.T + bias, high @ positive.T + low @ negative.T + bias
    found = bounds.interval(model, x, EPS)
    assert np.allclose(found.lower, low, atol=1e-9)
    assert np.allclose(found.upper, high, atol=1e-9)


def one_hidden(model, x):
    (first, bias), (last, shift) = weights(model)
    low, high = ends(x)
    middle, reach = first @ (low + high) / 2 + bias, abs(first) @ (high - low) / 2
    return first, bias, last, shift, low, high, middle - reach, middle + reach


def lp(model, x, row, *, triangle):
    """The largest of a combination of outputs under straight relaxations of ReLU: both lower lines, or CROWN's one."""
    first, bias, last, shift, low, high, lo, up = one_hidden(model, x)
    size, width = len(x), len(bias)
    crossing = (lo < 0) & (up > 0)
    chord = np.where(crossing, up / (up - lo), lo >= 0)
    offset = np.where(crossing, -chord * lo, 0)
    lowers = [np.where(crossing, slope, 1.0 * (lo >= 0)) for slope in ((0.0, 1.0) if triangle else (1.0 * (up > -lo),))]
    eye = np.eye(width)
    above = np.hstack([-chord[:, None] * first, eye]), chord * bias + offset
    below = [(np.hstack([slope[:, None] * first, -eye]), -slope * bias) for slope in lowers]
    matrix = np.vstack([above[0], *(part[0] for part in below)])
    limit = np.concatenate([above[1], *(part[1] for part in below)])
    cost = np.concatenate([np.zeros(size), row @ last])
    limits = [*zip(low, high, strict=True), *[(None, None)] * width]
    return -linprog(-cost, matrix, limit, bounds=limits).fun + row @ shift


def truth(model, x, row):
    """The largest of a combination of outputs: a mixed-integer program, one switch for each ReLU."""
    first, bias, last, shift, low, high, lo, up = one_hidden(model, x)
    size, width = len(x), len(bias)
    eye, none = np.eye(width), np.zeros((width, size))
    at_most = np.hstack([none, eye, -np.diag(np.maximum(up, 0))])  # h <= up · switch
    off = np.hstack([-first, eye, -np.diag(np.minimum(lo, 0))])  # h <= z - lo · (1 - switch)
    over = np.hstack([first, -eye, 0 * eye])  # h >= z
    limits = np.concatenate([np.zeros(width), bias - np.minimum(lo, 0), -bias])
    cost = -np.concatenate([np.zeros(size), row @ last, np.zeros(width)])
    kinds = np.concatenate([np.zeros(size + width), np.ones(width)])
    box = Bounds(
        np.concatenate([low, np.zeros(width), np.zeros(width)]),
        np.concatenate([high, np.full(width, np.inf), np.ones(width)]),
    )
    rows = LinearConstraint(np.vstack([at_most, off, over]), -np.inf, limits)
    return -milp(cost, constraints=rows, integrality=kinds, bounds=box).fun + row @ shift


@pytest.mark.parametrize("seed", range(6))
def test_between_the_truth_and_intervals(seed):
    torch.manual_seed(seed)
    model = mlp(5, 12, 3)
    x, y = torch.rand(1, 5, dtype=torch.float64), torch.tensor([seed % 3])
    others = [k for k in range(3) if k != y]
    rows = np.eye(3)[others] - np.eye(3)[y.item()]
    image = x[0].numpy()
    true = np.array([truth(model, image, row) for row in rows])
    loose = np.array([lp(model, image, row, triangle=True) for row in rows])
    same = np.array([lp(model, image, row, triangle=False) for row in rows])
    found = {how: bounds.differences(model, x, y, EPS, how)[0, others].numpy() for how in bounds.METHODS}
    slack = 1e-7
    assert np.all(true <= loose + slack)
    assert np.all(loose <= found["crown"] + slack)
    assert np.all(found["crown-ibp"] <= found["ibp"] + slack)
    affine = np.minimum(same, found["ibp"])
    assert np.allclose(found["crown"], affine, atol=1e-7)
    assert true.max() == pytest.approx(bounds.margins(model, x, y, 1e-9)[0].item(), abs=2)


@pytest.mark.parametrize("name", ["mnist/lenet", "mnist/cnn"])
def test_on_trained_networks_crown_is_tighter_than_intervals(name):
    model = models.load(name).requires_grad_(False)
    images = data.load("mnist").test.sample(8, 0)
    margin = {how: bounds.margins(model, images.x, images.y, Linf(0.005), how) for how in ("ibp", "crown-ibp")}
    assert bool((margin["crown-ibp"] <= margin["ibp"]).all())
    assert float(margin["crown-ibp"].mean()) < 0.8 * float(margin["ibp"].mean())


def test_bounds_grow_with_eps():
    model = mlp(6, 10, 9, 4)
    x, y = torch.rand(5, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    for how in ("ibp", "crown-ibp", "crown"):
        grown = torch.stack([bounds.margins(model, x, y, eps, how) for eps in (0.0, 0.01, 0.05, 0.1, 0.3)])
        assert bool((grown[1:] > grown[:-1]).all())
        logits = model(x)
        own = logits.gather(1, y[:, None])
        assert torch.allclose(grown[0], (logits - own).scatter(1, y[:, None], -torch.inf).amax(1), atol=1e-9)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Sigmoid])
def test_eps_for_each_sample_and_any_batch_give_the_same(activation):
    model = mlp(6, 10, 9, 4, activation=activation)
    x, y = torch.rand(5, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    eps = torch.tensor([0.0, 0.02, 0.05, 0.1, 0.3], dtype=torch.float64)
    for how in bounds.METHODS:
        whole = bounds.margins(model, x, y, Threat(Linf(eps)), how)
        alone = [bounds.margins(model, x[i : i + 1], y[i : i + 1], float(eps[i]), how) for i in range(5)]
        assert torch.allclose(whole, torch.cat(alone), atol=1e-12)


@pytest.mark.parametrize("how", list(bounds.METHODS))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Sigmoid])
def test_the_gradient_by_the_parameters_is_that_of_differences(how, activation):
    model = mlp(5, 7, 6, 3, activation=activation)
    x, y = torch.rand(2, 5, dtype=torch.float64), torch.tensor([0, 2])
    for place in (0, 2, 4):
        weight = model[place].weight.requires_grad_(True)
        (grad,) = torch.autograd.grad(bounds.margins(model, x, y, EPS, how).sum(), weight)
        weight.requires_grad_(False)
        assert bool((grad != 0).any())
        if activation is not nn.ReLU:
            continue  # lines of smooth functions hold their slopes still
        with torch.no_grad():
            weight[0, 1] += 1e-6
            high = bounds.margins(model, x, y, EPS, how).sum()
            weight[0, 1] -= 2e-6
            low = bounds.margins(model, x, y, EPS, how).sum()
            weight[0, 1] += 1e-6
        assert float(grad[0, 1]) == pytest.approx(float((high - low).detach() / 2e-6), abs=1e-5)
