"""JSMA: its steps against the paper's search over all pairs, and its numbers against peers'."""

import pytest
import torch
from torch import nn

from steelman.attacks import Nearest, jsma
from steelman.attacks.jsma import towards
from steelman.errors import InputError
from steelman.norms import L0, L2
from steelman.threat import Threat

from .test_fab import Recorder, images, network
from .test_peers import peer


def loop(model, x, target, theta, steps):
    """Algorithms 2 and 3 of the paper on one image, over all pairs, with probabilities: what is shown, in order."""
    shown, sign = [x], 1 if theta > 0 else -1
    while len(shown) <= steps and model(shown[-1][None]).argmax() != target:
        point = shown[-1].clone().requires_grad_()
        output = model(point[None]).softmax(1)[0]
        a = sign * torch.autograd.grad(output[target], point, retain_graph=True)[0]
        b = sign * torch.autograd.grad(output.sum() - output[target], point)[0]
        free = [i for i in range(len(x)) if (point[i] < 1 if theta > 0 else point[i] > 0)]
        scores = {}
        for p in free:
            for q in free:
                if p < q and a[p] + a[q] > 0 and b[p] + b[q] < 0:
                    scores[p, q] = float((a[p] + a[q]) * (b[p] + b[q]).abs())
        if not scores:
            break
        moved = shown[-1].clone()
        moved[list(max(scores, key=scores.get))] += theta
        shown.append(moved.clamp(0, 1))
    return torch.stack(shown)


@pytest.mark.parametrize("theta", [1.0, 0.2, -1.0])
def test_it_takes_the_papers_pairs(theta):
    model = network()
    x, y = images(model)
    compared = 0
    for target in range(4):
        rows = (y != target).nonzero().squeeze(1)
        wanted = torch.full_like(rows, target)
        attack = jsma(L0(), theta=theta, gamma=0.8, targeted=True)
        for i in rows:
            recorder = Recorder(model)
            attack(recorder, x[i : i + 1], wanted[:1])
            expected = loop(model, x[i], target, theta, 4)
            seen = torch.cat(recorder.shown)
            assert torch.allclose(seen[: len(expected)], expected, atol=1e-12)
            assert len(seen) <= 5
            compared += len(expected) - 1
    assert compared > 30


def test_a_sure_model_is_led_too():
    """Where the softmax rounds to one, probabilities have no gradient in single precision."""
    model = network(dtype=torch.float64)
    x, y = images(model)
    wanted = (y + 1) % 4
    plain = jsma(L0(), gamma=0.4, targeted=True)(model, x, wanted)
    sure = jsma(L0(), gamma=0.4, targeted=True)(lambda x: 1000 * model(x), x, wanted)
    assert sure.broken.double().mean() >= plain.broken.double().mean() - 0.3
    assert not (sure.x == x).all(1).any()


def test_no_more_entries_change_than_are_allowed():
    model = network()
    x, y = images(model, 30)
    for gamma, eps, most in ((0.1, 100, 0), (0.2, 100, 2), (0.79, 100, 6), (1.0, 5, 4), (0.5, 5, 4)):
        found = jsma(L0(eps), gamma=gamma, classes=1)(model, x, y)
        assert found.distance.max() <= most
        assert found.forwards.max() <= 2 + most / 2
        assert most < 4 or found.distance.max() == most
    each = torch.arange(30) % 5
    found = jsma(L0(each), gamma=1.0)(model, x, y)
    assert (found.distance <= each).all()


def test_an_untargeted_attack_tries_the_likeliest_class_first_and_the_others_where_it_fails():
    model = network()
    x, y = images(model, 30)
    first = jsma(L0(2), gamma=1.0, classes=1)(model, x, y)
    every = jsma(L0(2), gamma=1.0)(model, x, y)
    assert 0 < first.broken.sum() < every.broken.sum()
    assert torch.equal(every.x[first.broken], first.x[first.broken])
    likeliest = model(x).scatter(1, y[:, None], -torch.inf).argmax(1)
    single = jsma(L0(2), gamma=1.0, targeted=True)(model, x, likeliest)
    assert (first.broken | ~single.broken).all()
    fewest = jsma(L0(), gamma=1.0).with_goal(Nearest())(model, x, y)
    assert (fewest.needed <= jsma(L0(), gamma=1.0)(model, x, y).needed).all()


def test_log_odds_are_those_of_the_softmax():
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.arange(6) % 5
    p = logits.softmax(1).gather(1, target[:, None]).squeeze(1)
    assert torch.allclose(towards(logits, target, target), (p / (1 - p)).log())


def test_it_ends_where_the_box_lets_nothing_move():
    model = network()
    x, y = images(model)
    found = jsma(L0(), gamma=1.0, classes=1)(model, torch.ones_like(x), model(torch.ones_like(x)).argmax(1))
    assert (found.forwards == 2).all()
    found = jsma(Threat(L0(), low=-9, high=9), theta=0.1, gamma=1.0, classes=1)(model, x, y)
    assert found.forwards.max() <= 2 + 5


def test_an_image_of_one_entry_is_left_alone():
    found = jsma(L0(), gamma=1.0)(nn.Linear(1, 2), torch.rand(3, 1), torch.zeros(3, dtype=torch.int64))
    assert not found.distance.any()


def test_it_reaches_no_fewer_targets_than_art():
    peer("art")
    lib = peer("art.attacks.evasion")
    classification = peer("art.estimators.classification")

    model = network(classes=6, dtype=torch.float32)
    x, y = images(network(classes=6), 40)
    x, wanted = x.float(), (y + 1) % 6
    estimator = classification.PyTorchClassifier(
        model, nn.CrossEntropyLoss(), input_shape=(10,), nb_classes=6, clip_values=(0.0, 1.0), device_type="cpu"
    )
    # It goes on until more than gamma is changed, and so beyond it by a pair.
    attack = lib.SaliencyMapMethod(estimator, theta=1.0, gamma=0.4, batch_size=40, verbose=False)
    theirs = torch.from_numpy(attack.generate(x.numpy(), wanted.numpy()))
    reached = (model(theirs).argmax(1) == wanted) & ((theirs != x).sum(1) <= 4)
    found = jsma(L0(4), gamma=1.0, targeted=True)(model, x, wanted)
    assert 0 < int(reached.sum()) < 40
    assert int(found.broken.sum()) >= int(reached.sum())


@pytest.mark.parametrize(
    "bad",
    [
        {"theta": 0.0},
        {"theta": float("inf")},
        {"gamma": 0.0},
        {"gamma": 1.5},
        {"classes": 0},
        {"classes": 2, "targeted": True},
    ],
)
def test_settings_that_make_no_attack_are_errors(bad):
    with pytest.raises(InputError, match="expected"):
        jsma(L0(), **bad)


def test_only_l0_is_known():
    with pytest.raises(InputError, match="L0 for jsma"):
        jsma(L2())
