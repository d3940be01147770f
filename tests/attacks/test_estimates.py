"""Gradients from scores alone: their expectation, their noise and what they cost; and the attacks known by them."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import Last, Worst, at_input, estimated, nes, pgd, spsa
from steelman.attacks.engine.problem import Problem
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L2, Linf
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Victim

KINDS = ["nes", "spsa"]


class Linear(nn.Module):
    """A linear model behind a wall that no gradient passes; it keeps how many images it was shown at once."""

    def __init__(self, features=20, classes=4):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(features, classes).double()
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        return self.layer(x.flatten(1)).detach()


def images(n=6, features=20):
    return torch.rand(n, features, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def problem(model, x, seed=0, targeted=False):
    y = model(x).argmax(1)
    streams = Streams.of(seed, torch.arange(len(x)))
    return Problem(x, y, Threat(Linf(0.1)), streams, x, model(x), torch.zeros_like(y), targeted)


def answer(estimator, model, x, ascend, k=0):
    asked = problem(model, x)
    with Victim(model) as victim:
        found = estimator.answer(victim, asked, x, torch.full((len(x),), k), ascend)
    return victim, found


def logit(at):
    return lambda logits: logits[:, at]


@pytest.mark.parametrize("kind", KINDS)
def test_the_expectation_is_the_gradient_and_the_noise_is_the_known_one(kind):
    """Of a linear value g·x a pair gives (g·u) u, of variance |g|² + g² (normal u) or |g|² - g² (signs) an entry."""
    model, pairs, draws = Linear(), 8, 400
    x = images(1).repeat(draws, 1)
    _, found = answer(estimated(kind, samples=2 * pairs), model, x, logit(1))
    g = model.layer.weight[1].detach()
    variance = (g.square().sum() + (1 if kind == "nes" else -1) * g.square()) / pairs
    error = (found.grad.mean(0) - g) / (variance / draws).sqrt()
    assert error.abs().max() < 4
    assert torch.allclose(found.grad.var(0), variance, rtol=0.5)
    assert float(found.grad.var(0).mean() / variance.mean()) == pytest.approx(1, abs=0.1)
    assert torch.equal(found.value, model(x)[:, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_sum_over_pairs(kind):
    model, x, size = nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 3)).double(), images(3), 0.3
    estimator, y = estimated(kind, samples=6, size=size), model(x).argmax(1)
    _, found = answer(estimator, model, x, lambda logits: F.cross_entropy(logits, y, reduction="none"), k=2)
    expected = torch.zeros_like(x)
    for i in range(3):
        for pair in range(3):
            own = Streams.of(0, torch.tensor([i])).derive("estimate").derive(torch.tensor([2])).derive(pair)
            u = own.normal(x[:1])[0] if kind == "nes" else torch.where(own.uniform(x[:1])[0] < 0.5, -1.0, 1.0).double()
            with torch.no_grad():
                above, below = (F.cross_entropy(model(x[i] + way * size * u), y[i]) for way in (1, -1))
            expected[i] += (above - below) / (2 * size) * u / 3
    assert torch.allclose(found.grad, expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_more_samples_point_nearer_to_the_gradient(kind):
    model, x = Linear(), images(60)
    g = model.layer.weight[0].detach()
    cosine = [
        float(F.cosine_similarity(answer(estimated(kind, samples=n), model, x, logit(0))[1].grad, g[None]).mean())
        for n in (2, 10, 50, 400)
    ]
    assert cosine == sorted(cosine)
    assert cosine[0] < 0.5
    assert cosine[-1] > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_gradients_of_several_values(kind):
    model, x = Linear(), images()
    several = answer(estimated(kind, samples=10), model, x, lambda logits: logits[:, :3])[1]
    assert several.grad.shape == (6, 3, 20)
    for at in range(3):
        one = answer(estimated(kind, samples=10), model, x, logit(at))[1]
        assert torch.allclose(several.grad[:, at], one.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_its_batches_are_bounded_and_do_not_matter(kind):
    model, x = Linear(), images()
    expected = answer(estimated(kind, samples=20), model, x, logit(0))[1]
    assert max(model.batches) == len(x)
    for together in (1, 4, 12, 50, 500):
        model.batches.clear()
        estimator = estimated(kind, samples=20, together=together)
        victim, found = answer(estimator, model, x, logit(0))
        assert torch.allclose(found.grad, expected.grad, atol=1e-9)
        assert max(model.batches) <= max(together, len(x))
        assert victim.forwards == 21 * len(x)
        assert victim.backwards == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", [Linf, L2])
def test_it_serves_any_attack_that_ascends_a_gradient(kind, norm):
    model, x = Linear(), images()
    y = model(x).argmax(1)
    attack = pgd(norm(0.2), steps=5, start=at_input)
    with pytest.raises(InputError, match="differentiated"):
        attack(model, x, y)
    result = attack.through(estimated(kind, samples=40)).with_goal(Worst())(model, x, y)
    assert (result.margin > margin(model(x), y)).all()
    assert (result.forwards == 1 + 5 * 41).all()
    assert not result.backwards.any()


def steps_of(attack, model, x, y):
    """The gradients that a rule was given, and the candidates that it made of them."""
    seen = []

    class Spy:
        def look(self, victim, x, y):
            seen.append((x.clone(), None))
            return victim.logits(x, y)

        def answer(self, victim, problem, x, k, ascend):
            found = attack.gradient.answer(victim, problem, x, k, ascend)
            seen.append((x.clone(), found.grad))
            return found

    replace(attack, gradient=Spy(), goal=Last())(model, x, y)
    return seen


def test_nes_steps_along_the_mean_of_its_estimates():
    model, x = Linear(), images()
    seen = steps_of(nes(Linf(0.1), steps=6, samples=4), model, x, model(x).argmax(1))
    at, mean = x, torch.zeros_like(x)
    for shown, grad in seen:
        assert torch.allclose(shown, at)
        if grad is not None:
            mean = 0.9 * mean + 0.1 * grad
            at = torch.min(torch.max(at + 0.02 * mean.sign(), x - 0.1), x + 0.1).clamp(0, 1)
    assert len(seen) == 7


def test_spsa_steps_as_adam_does():
    model, x = Linear(), images()
    seen = steps_of(spsa(Linf(0.05), steps=6, samples=4), model, x, model(x).argmax(1))
    at = nn.Parameter(x.clone())
    adam = torch.optim.Adam([at], lr=0.01, maximize=True)
    for shown, grad in seen:
        assert torch.allclose(shown, at.detach(), atol=1e-9)
        if grad is not None:
            at.grad = grad
            adam.step()
            with torch.no_grad():
                at.copy_(torch.min(torch.max(at, x - 0.05), x + 0.05).clamp(0, 1))
    assert len(seen) == 7


@pytest.mark.parametrize(("attack", "settings"), [(nes, {}), (spsa, {"size": 0.03})])
@pytest.mark.parametrize("targeted", [False, True])
def test_a_linear_model_breaks_above_its_margin_and_never_below(attack, settings, targeted):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Linear(16, 2).double()
    x = images(8, 16)
    y = model(x).argmax(1)
    weight = (model.weight[0] - model.weight[1]).detach()
    least = -margin(model(x), y).detach() / weight.norm(p=1)
    made = attack(Threat(Linf(least), low=-10, high=10), steps=60, samples=40, targeted=targeted, **settings)
    y = 1 - y if targeted else y
    assert not made.at(least * 0.99)(model, x, y).broken.any()
    assert made.at(least * 1.15)(model, x, y).broken.all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_value_gives_no_direction_and_no_nan(kind):
    model, x = Linear(), images()
    flat = answer(estimated(kind), model, x, lambda logits: 0 * logits[:, 0])[1]
    assert not flat.grad.any()
    for attack in (nes(Linf(0.1), steps=2), spsa(L2(0.1), steps=2)):
        result = attack.with_goal(Last())(
            lambda x: torch.tensor([[2.0, 0]]).repeat(len(x), 1), x, model(x).argmax(1) * 0
        )
        assert torch.equal(result.x, x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "fd"}, "'nes' or 'spsa'"),
        ({"samples": 5}, "even number of samples"),
        ({"samples": 0}, "samples as a whole number >= 2"),
        ({"size": 0.0}, "size as a number > 0"),
        ({"together": 0}, "together"),
    ],
)
def test_bad_settings_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        estimated(**settings)
