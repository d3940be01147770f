"""Universal perturbations: one change for all images, learnt by two algorithms."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from steelman import data, models
from steelman.attacks import Last
from steelman.attacks.learnt import in_order
from steelman.attacks.universal import sgd_uap, universal
from steelman.errors import InputError
from steelman.losses import cross_entropy
from steelman.norms import L1, L2, Linf
from steelman.streams import Streams
from steelman.threat import Threat

from .conformance import Network, images
from .test_peers import peer

WIDE = {"low": -1e3, "high": 1e3}


@pytest.fixture(scope="module")
def mnist():
    test = data.load("mnist").test
    learn, other = test.sample(60, 0), test.sample(60, 1)
    return models.load("mnist/cnn"), learn.x, learn.y, other.x, other.y


def linear(n=40):
    """Two classes with a margin of its own for each image; one direction breaks one class alone."""
    model = nn.Linear(6, 2).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, 6, generator=generator, dtype=torch.float64))
        model.bias.zero_()
    x = torch.randn(4 * n, 6, generator=generator, dtype=torch.float64)
    x = x[model(x).argmax(1) == 0][:n]
    return model, x, torch.zeros(len(x), dtype=torch.int64)


@pytest.mark.parametrize("make", [universal, sgd_uap])
@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.3)], ids=["Linf", "L2"])
def test_all_images_get_one_change_from_inside_the_ball(make, ball):
    model = Network()
    x, y, natural = images(model, 16)
    attack = make(ball).with_goal(Last())
    change = attack.learnt(model, x, y, seed=3)
    assert change.shape == x.shape[1:]
    assert float(ball.size(change[None])) <= float(ball.eps) + 1e-9
    result = attack(model, x, y, seed=3)
    assert torch.allclose(result.x, (x + change).clamp(0, 1))
    assert torch.equal(result.natural, natural)
    usual = make(ball)(model, x, y, seed=3)
    assert torch.equal(usual.x[natural], x[natural])
    assert torch.equal(usual.broken, result.broken | natural)


def test_deepfool_on_a_linear_model_goes_as_far_as_the_farthest_image_asks():
    """Every image is broken by the same direction, so the sum ends at the largest distance to the boundary."""
    model, x, y = linear()
    weight = (model.weight[1] - model.weight[0]).detach()
    distance = -(model(x).detach() @ torch.tensor([-1.0, 1.0], dtype=torch.float64)) / weight.norm()
    attack = universal(Threat(L2(100.0), **WIDE), enough=1.0)
    change = attack.learnt(model, x, y)
    assert attack(model, x, y).accuracy == 0
    assert float(change.norm()) == pytest.approx(float(distance.max()), rel=0.05)
    assert torch.allclose(change / change.norm(), weight / weight.norm(), atol=1e-6)


def test_it_stops_when_enough_are_broken():
    model, x, y = linear()
    shares = [1 - universal(Threat(L2(100.0), **WIDE), enough=e)(model, x, y).accuracy for e in (0.3, 0.7)]
    assert shares[0] >= 0.3
    assert shares[1] >= 0.7
    assert universal(Threat(L2(100.0), **WIDE), enough=0.0).learnt(model, x, y).norm() == 0


@pytest.mark.parametrize("targeted", [False, True])
def test_ascent_is_the_loop_of_the_paper(targeted):
    model = Network()
    x, y, natural = images(model, 23, targeted=targeted)
    x, y, kept = x[~natural], y[~natural], 21
    attack = sgd_uap(Linf(0.1), epochs=3, batch=8, size=0.3, clip=1.0, targeted=targeted)
    problem = type("", (), {"streams": Streams.of(3, torch.arange(kept))})
    delta, k = torch.zeros(1, 1, 4, 3, dtype=torch.float64), 0
    for epoch in range(3):
        for rows in in_order(problem, epoch).split(8):
            d = delta.clone().requires_grad_()
            loss = cross_entropy(model.eval()((x[rows] + d).clamp(0, 1)), y[rows]).clamp(max=1.0).mean()
            grad = torch.autograd.grad(-loss if targeted else loss, d)[0]
            delta = (delta + 0.3 * 0.1 * (1 - k / 9) * grad.sign()).clamp(-0.1, 0.1)
            k += 1
    ours = attack.learnt(model, x, y, seed=3)
    assert torch.allclose(ours, delta[0], atol=1e-12)
    assert torch.allclose(attack.learnt(model, x, y, seed=3, slots=3), ours, atol=1e-12)


@pytest.mark.parametrize("make", [universal, sgd_uap])
def test_neither_order_nor_slots_matter(make):
    model = Network()
    x, y, _ = images(model, 16)
    whole = make(Linf(0.1)).learnt(model, x, y, seed=3)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(make(Linf(0.1)).learnt(model, x[order], y[order], seed=3, indices=order), whole, atol=1e-9)
    assert torch.allclose(make(Linf(0.1)).learnt(model, x, y, seed=3, slots=5), whole, atol=1e-9)


@pytest.mark.parametrize("make", [universal, sgd_uap])
def test_every_pass_is_counted_and_nothing_is_changed(make):
    model = Network()
    x, y, _ = images(model, 16)
    before, generator = x.clone(), torch.random.get_rng_state()
    model.forwards = model.backwards = 0
    result = make(Linf(0.1))(model, x, y)
    assert model.forwards == int(result.forwards.sum())
    assert model.backwards == int(result.backwards.sum())
    assert torch.equal(x, before)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_it_holds_on_images_that_it_was_not_learnt_on(mnist):
    model, x, y, other, labels = mnist
    attack = sgd_uap(Linf(0.1), epochs=10, batch=20)
    change = attack.learnt(model, x, y)
    seen, unseen = attack.showing(change)(model, x, y), attack.showing(change)(model, other, labels)
    noise = attack.showing(0.1 * torch.rand_like(change).sub(0.5).sign())(model, other, labels)
    assert seen.accuracy < 0.6
    assert unseen.accuracy < noise.accuracy - 0.2
    assert (unseen.forwards <= 2).all()
    assert not unseen.backwards.any()


@pytest.mark.slow
def test_no_peer_breaks_more(mnist):
    peer("art")
    from art.attacks.evasion import UniversalPerturbation
    from art.estimators.classification import PyTorchClassifier

    model, x, y, _, _ = mnist
    x, y, eps = x[:20], y[:20], 0.25
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judge = PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0, 1), device_type="cpu")
        quick = {"verbose": False, "max_iter": 10}
        state = np.random.get_state()
        np.random.seed(0)
        theirs = UniversalPerturbation(
            judge, "deepfool", quick, eps=eps, norm=np.inf, max_iter=1, batch_size=1, verbose=False
        ).generate(x.numpy(), np.eye(10)[y.numpy()])
        np.random.set_state(state)
    broken = int((model(torch.as_tensor(theirs)).argmax(1) != y).sum())
    # Both stop once four of five are broken; by how much they overshoot that is chance.
    assert int(universal(Linf(eps), passes=2)(model, x, y).broken.sum()) >= min(broken, math.ceil(0.8 * 20))
    assert int(sgd_uap(Linf(eps))(model, x, y).broken.sum()) >= broken


@pytest.mark.parametrize("make", [universal, sgd_uap])
def test_no_radius_and_no_gradient_give_no_change(make):
    model = Network()
    x, y, natural = images(model)
    result = make(Linf(0.0))(model, x, y)
    assert torch.equal(result.x, x)
    assert torch.equal(result.broken, natural)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 3).double())
    nn.init.zeros_(flat[1].weight)
    change = make(L2(0.3)).learnt(flat, x, flat(x).argmax(1))
    assert not change.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: universal(L1(0.3)), "Linf or L2 for universal"),
        (lambda: sgd_uap(Linf()), "a radius for sgd-uap"),
        (lambda: universal(Linf(0.1), enough=2), "enough as a number in"),
        (lambda: sgd_uap(Linf(0.1), epochs=0), "epochs as a whole number"),
        (lambda: sgd_uap(Linf(torch.tensor([0.1, 0.2]))).learnt(Network(), *images(Network(), 2)[:2]), "one eps for"),
    ],
)
def test_bad_settings_are_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()
