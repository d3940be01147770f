"""Certificates on networks that ship: nobody breaks what is certified."""

import pytest
import torch
from torch import nn

from steelman import attacks, bounds, data, defences, models
from steelman.norms import L2, Linf
from steelman.threat import Threat

IMAGES = data.load("mnist").test.sample(8, 3)


def shown(x, eps, count=12):
    """Images of Linf balls, drawn from them and at their corners."""
    around = x.expand(count, *x.shape)
    noise = torch.rand(around.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise[count // 2 :] = noise[count // 2 :].sign()
    return (around + eps * noise).clamp(0, 1)


PIPELINES = {
    "cnn": lambda: models.load("mnist/cnn"),
    "cnn-linf": lambda: models.load("mnist/cnn-linf"),
    "lenet": lambda: models.load("mnist/lenet"),
    "resnet": lambda: models.ResNet18(width=8).eval(),
    "unet": lambda: defences.guard(defences.load("mnist/unet"), models.load("mnist/cnn")),
    "magnet": lambda: defences.guard(defences.load("mnist/magnet"), models.load("mnist/lenet")),
    "bayesian": lambda: defences.guard(defences.load("mnist/bayesian-autoencoder"), models.load("mnist/lenet")),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_nothing_leaves_the_bounds_of_what_ships(name):
    model = PIPELINES[name]().requires_grad_(False)
    x = IMAGES.x[:2]
    for eps in (0.0, 0.002, 0.1):
        logits = model(shown(x, eps).flatten(0, 1)).unflatten(0, (-1, len(x)))
        found = [bounds.interval(model, x, eps), bounds.crown(model, x, eps, "ibp")]
        for one in found:
            assert bool(((logits >= one.lower) & (logits <= one.upper)).all())
            assert bool(torch.isfinite(one.upper).all())


@pytest.mark.parametrize("name", ["unet", "magnet", "bayesian"])
def test_a_purifier_and_a_classifier_are_bounded_as_one_network(name):
    """In double precision, at eps 0, the bounds of the whole are its logits."""
    model = PIPELINES[name]().double().requires_grad_(False)
    x = IMAGES.x[:2].double()
    found = bounds.crown(model, x, 0.0, "ibp")
    assert torch.allclose(found.upper, model(x), atol=1e-3)
    assert torch.allclose(found.lower, model(x), atol=1e-3)


def test_what_is_certified_is_broken_by_no_attack():
    model = models.load("mnist/lenet").requires_grad_(False)
    x, y = IMAGES.x, IMAGES.y
    eps = torch.tensor([0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.1, 0.3])
    threat = Threat(Linf(eps))
    found = bounds.certify(model, x, y, threat, methods=("ibp", "crown-ibp"))
    broken = attacks.pgd(threat, steps=20)(model, x, y, seed=0).broken
    assert 0 < found.share < 1
    assert not bool((found.holds & broken).any())
    assert set(found.by) == {"ibp", "crown-ibp", None}
    assert [by is not None for by in found.by] == found.holds.tolist()
    assert torch.equal(found.holds, found.margin < 0)


def test_certificates_do_not_depend_on_the_batch():
    model = models.load("mnist/lenet").requires_grad_(False)
    x, y = IMAGES.x, IMAGES.y
    methods = ("ibp", "crown-ibp")
    told = []
    whole = bounds.certify(model, x, y, Linf(0.006), methods=methods)
    parts = bounds.certify(
        model, x, y, Linf(0.006), methods=methods, batch=3, progress=lambda now: told.append((now.done, now.total))
    )
    assert told == [(3, 8), (6, 8), (8, 8)]
    assert whole.by == parts.by
    assert torch.allclose(whole.margin, parts.margin, atol=1e-3)


def test_the_dearer_method_runs_on_what_is_open_only():
    seen = []

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = models.load("mnist/lenet")

        def forward(self, x):
            seen.append(len(x))
            return self.inner(x)

    x, y = IMAGES.x, IMAGES.y
    eps = torch.tensor([0.0001] * 5 + [0.3] * 3)
    found = bounds.certify(Counting().eval(), x, y, Linf(eps), methods=("ibp", "crown-ibp"))
    assert seen == [8, 8, 3, 3]  # at the images, and at a corner of their sets
    assert found.by == ("ibp",) * 5 + (None,) * 3


def test_a_misread_image_is_not_certified():
    model = models.load("mnist/lenet").requires_grad_(False)
    x, y = IMAGES.x, IMAGES.y
    found = bounds.certify(model, x, (y + 1) % 10, 0.0, methods=("ibp", "crown-ibp"))
    assert not bool(found.holds.any())
    assert bool((found.margin > 0).all())


def test_a_tie_is_not_certified():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).double().eval().requires_grad_(False)
    model[1].weight.fill_(1.0)
    x = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64)
    assert not bool(bounds.certify(model, x, torch.tensor([0]), 0.0).holds)


def test_l2_certificates_hold_against_an_l2_attack():
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, 3)
    model = nn.Sequential(*layers).eval().requires_grad_(False)
    x = torch.rand(64, 1, 8, 8)
    y = model(x).argmax(1)
    for eps in (0.1, 0.3):
        found = bounds.certify(model, x, y, L2(eps))
        assert "crown" in found.by
        assert not bool((found.holds & attacks.pgd(L2(eps), steps=20)(model, x, y, seed=0).broken).any())


def test_cross_entropy_of_the_differences_is_above_that_of_any_image():
    model = models.load("mnist/lenet").requires_grad_(False)
    x, y = IMAGES.x, IMAGES.y
    for method in ("ibp", "crown-ibp"):
        worst = nn.functional.cross_entropy(bounds.differences(model, x, y, 0.01, method), y, reduction="none")
        logits = model(shown(x, 0.01).flatten(0, 1))
        met = nn.functional.cross_entropy(logits, y.repeat(12), reduction="none").view(12, -1)
        assert bool((worst >= met).all())


def test_training_on_the_bounds_makes_certificates():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
    x = torch.rand(64, 1, 4, 4)
    y = (x.flatten(1)[:, :8].sum(1) > x.flatten(1)[:, 8:].sum(1)).long()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    before = bounds.certify(model, x, y, 0.01, methods=("ibp",)).share
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(bounds.differences(model, x, y, 0.01, "crown-ibp"), y).backward()
        optimizer.step()
    assert bounds.certify(model, x, y, 0.01, methods=("ibp",)).share > before + 0.3
