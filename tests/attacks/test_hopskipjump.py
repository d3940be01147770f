"""HopSkipJump against a loop written from its paper, on linear models, beside peers, and on bad input."""

import math

import pytest
import torch
from torch import nn

from steelman.attacks import Break, hopskipjump
from steelman.errors import InputError
from steelman.norms import L1, L2, Linf
from steelman.streams import Streams
from steelman.threat import Threat

from .conformance import Network, images
from .test_peers import peer
from .test_reference_loops import Recorder


def linear(d=20):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Linear(d, 2).double()
    x = 0.3 + 0.4 * torch.rand(6, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = model(x).argmax(1)
    slope = (model.weight[0] - model.weight[1]).detach()
    gap = (model(x)[:, 0] - model(x)[:, 1]).detach().abs()
    return model, x, y, slope, gap


def long(norm, delta):
    return delta.abs().max() if norm is Linf else delta.norm()


def blend(norm, clean, x, share):
    if norm is L2:
        return (1 - share) * clean + share * x
    radius = share * (x - clean).abs().max()
    return torch.minimum(torch.maximum(x, clean - radius), clean + radius)


def bisect(model, y, norm, clean, x, theta, shown):
    low, high = 0.0, 1.0
    while high - low > theta * high:
        middle = (low + high) / 2
        shown.append(blend(norm, clean, x, middle))
        if model(shown[-1][None]).argmax() != y:
            high = middle
        else:
            low = middle
    return blend(norm, clean, x, high) if high < 1 else x


def reference(model, clean, y, begin, norm, rounds, stream):
    """Chen, Jordan & Wainwright 2020, algorithm 2, with the first probes of the authors' code; what it shows."""
    d = clean.numel()
    theta = d**-1.5 if norm is L2 else d**-2
    shown = [clean, begin]
    far = long(norm, begin - clean)
    x = bisect(model, y, norm, clean, begin, theta, shown)
    for t in range(1, rounds + 1):
        delta = 0.1 if t == 1 else far / d
        signs, units = [], []
        for i in range(int(100 * math.sqrt(t))):
            own = stream.derive("probe").derive(t).derive(torch.tensor([i]))
            draw = own.normal(clean[None])[0] if norm is L2 else 2 * own.uniform(clean[None])[0] - 1
            shown.append((x + delta * draw / draw.norm()).clamp(0, 1))
            units.append((shown[-1] - x) / delta)
            signs.append(1.0 if model(shown[-1][None]).argmax() != y else -1.0)
        signs, units = torch.tensor(signs, dtype=clean.dtype), torch.stack(units)
        gradient = ((signs - signs.mean())[:, None] * units).mean(0)
        direction = gradient / gradient.norm() if norm is L2 else gradient.sign()
        step = long(norm, x - clean) / math.sqrt(t)
        while True:
            shown.append((x + step * direction).clamp(0, 1))
            if model(shown[-1][None]).argmax() != y:
                break
            step = step / 2
        x = shown[-1]
        far = long(norm, x - clean)
        x = bisect(model, y, norm, clean, x, theta, shown)
    return torch.stack(shown)


@pytest.mark.parametrize("norm", [L2, Linf])
def test_it_shows_what_the_paper_shows(norm):
    model = Network((12,)).eval()
    x, _, _ = images(model, 5, (12,))
    y = model(x).argmax(1)
    begin = x[(y != y[0]).nonzero()[0, 0]]
    expected = reference(model, x[0], y[0], begin, norm, 3, Streams.of(0, torch.tensor([0]))).detach()
    recorder = Recorder(model)
    result = hopskipjump(norm(), queries=600)(recorder, x[:1], y[:1], begin=begin[None])
    seen = torch.cat(recorder.shown)[: len(expected)]
    assert len(expected) > 400
    assert torch.allclose(seen, expected, rtol=0, atol=1e-9)
    assert result.broken.all()


@pytest.mark.parametrize("norm", [L2, Linf])
@pytest.mark.parametrize("targeted", [False, True])
def test_on_a_linear_model_it_finds_the_smallest_change(norm, targeted):
    model, x, y, slope, gap = linear()
    wide = Threat(norm(), low=-9.0, high=10.0)
    result = hopskipjump(wide, queries=2500, targeted=targeted)(model, x, 1 - y if targeted else y)
    assert result.broken.all()
    least = gap / slope.norm(p=2 if norm is L2 else 1)
    assert (result.distance >= least * (1 - 1e-9)).all()
    assert (result.distance <= 1.05 * least).all()


def test_within_a_radius_it_stops_as_soon_as_it_is_there():
    model, x, y, slope, gap = linear()
    least = gap / slope.norm()
    attack = hopskipjump(Threat(L2(1.5 * least), low=-9.0, high=10.0), queries=2500)
    whole, short = attack(model, x, y), attack.with_goal(Break())(model, x, y)
    assert whole.broken.all()
    assert short.broken.all()
    assert (short.forwards < 600).all()
    assert (whole.forwards > 2000).all()


@pytest.mark.parametrize("queries", [2, 3, 10, 50, 333])
def test_no_budget_is_exceeded(queries):
    model = Network()
    x, y, _ = images(model)
    for norm in (L2(), Linf()):
        assert (hopskipjump(norm, queries=queries)(model, x, y).forwards <= queries).all()


class Point(nn.Module):
    """A model that reads one image rightly and all others wrongly, so that all votes are alike."""

    def forward(self, x):
        right = (x == 0.5).flatten(1).all(1)
        return torch.stack([right, ~right], 1).to(x)


@pytest.mark.parametrize("norm", [L2, Linf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_votes_that_are_all_alike_are_no_nan(norm, dtype):
    x = torch.full((2, 1, 4, 4), 0.5, dtype=dtype)
    with pytest.warns(UserWarning, match="probabilities"):
        result = hopskipjump(norm(), queries=400)(Point(), x, torch.zeros(2, dtype=torch.int64))
    assert torch.isfinite(result.x).all()
    assert result.broken.all()
    assert (result.distance < 1e-2).all()


def test_a_subspace_of_frequencies_is_for_images():
    model = Network((1, 4, 3))
    x, y, _ = images(model, 8, (1, 4, 3))
    assert hopskipjump(L2(), queries=300, subspace=2)(model, x, y).broken.all()
    flat = Network((12,))
    with pytest.raises(InputError, match="expected images for a subspace"):
        hopskipjump(L2(), subspace=2)(flat, *images(flat, 8, (12,))[:2])


def test_bad_settings_and_starts_are_errors():
    with pytest.raises(InputError, match="L2 or Linf"):
        hopskipjump(L1())
    for bad in ({"queries": 1}, {"probes": 0}, {"gamma": 0.0}, {"subspace": 0}, {"probes": 10, "most": 5}):
        with pytest.raises(InputError, match="expected"):
            hopskipjump(L2(), **bad)
    model = Network()
    x, y, _ = images(model)
    with pytest.raises(InputError, match="begin at that the model reads wrongly, got 6 of 6"):
        hopskipjump(L2(), queries=100)(model, x, y, begin=(x + 1e-9).clamp(0, 1))


@pytest.fixture(scope="module")
def subject():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 36, 5)).eval().requires_grad_(False)
        x = torch.rand(200, 1, 8, 8)
    y = model(x).argmax(1)
    begin = torch.stack([x[(y != own).nonzero()[0, 0]] for own in y[:16]])
    return model, x[:16], y[:16], begin


def test_no_peer_comes_nearer_with_as_many_queries(subject):
    foolbox = peer("foolbox")
    model, x, y, begin = subject
    recorder = Recorder(model).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wrapped = foolbox.PyTorchModel(recorder, bounds=(0, 1), device="cpu")
        theirs, _, _ = foolbox.attacks.HopSkipJumpAttack(steps=5)(wrapped, x, y, epsilons=None, starting_points=begin)
    queries = sum(map(len, recorder.shown)) // len(x)
    ours = hopskipjump(L2(), queries=queries)(model, x, y, begin=begin)
    assert ours.broken.all()
    assert ours.distance.median() <= 1.02 * (theirs - x).flatten(1).norm(dim=1).median()
