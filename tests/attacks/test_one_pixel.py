"""One pixel against a loop written from its paper, generation by generation, and against a search of every pixel."""

import pytest
import torch
from torch import nn

from steelman.attacks import Worst, one_pixel
from steelman.attacks.one_pixel import _three_others
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L0, L2
from steelman.streams import Streams
from steelman.threat import Threat

from .test_peers import peer


class Recorder(nn.Module):
    """A model that keeps what it is shown."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.shown = []

    def forward(self, x):
        self.shown.append(x.detach().clone())
        return self.model(x)


def network(*shape, classes=4, scale=1.0):
    features = int(torch.tensor(shape).prod())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(features, 12), nn.Tanh(), nn.Linear(12, classes)]
        layers[1].weight.data *= scale
    return nn.Sequential(*layers).double().eval()


def images(n, *shape):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def painted(x, places, colours):
    out = x.clone()
    for place, colour in zip(places, colours, strict=True):
        out[:, int(place[0] * x.shape[1]), int(place[1] * x.shape[2])] = colour
    return out


def reference(model, x, y, *, base, pixels, population, steps, seed, targeted):
    """Su et al. 2019, section 3.2, one candidate after another: what is shown, in generations."""
    own = Streams.of(seed, torch.tensor([0]))
    like = torch.empty(1, pixels, population, 2, dtype=torch.float64)
    place = own.derive("first").derive("place").uniform(like)[0].transpose(0, 1)
    like = torch.empty(1, pixels, population, x.shape[0], dtype=torch.float64)
    colour = own.derive("first").derive("colour").normal(like)[0].transpose(0, 1)
    colour = ((128 + 127 * colour) / 255).clamp(0, 1)
    shown = []

    def fitness(candidate):
        true = model(candidate[None]).softmax(1)[0, y]
        return float(true if targeted else 1 - true)

    shown.append([painted(x, place[i], colour[i]) for i in range(population)])
    fit = [fitness(candidate) for candidate in shown[-1]]
    for generation in range(1, steps + 1):
        streams = own.derive("child").derive(generation)
        parents = [each[0].tolist() for each in _three_others(streams, 1, population)]
        redrawn = streams.derive("again").uniform(torch.empty(1, pixels, population, 2, dtype=torch.float64))[0]
        children = []
        for i in range(population):
            a, b, c = (parent[i] for parent in parents)
            a = fit.index(max(fit)) if base == "best" or (base is None and pixels > 1) else a
            where = place[a] + 0.5 * (place[b] - place[c])
            where = torch.where((where < 0) | (where >= 1), redrawn[:, i], where)
            children.append((where, (colour[a] + 0.5 * (colour[b] - colour[c])).clamp(0, 1)))
        shown.append([painted(x, *child) for child in children])
        place, colour = place.clone(), colour.clone()
        for i, candidate in enumerate(shown[-1]):
            if fitness(candidate) > fit[i]:
                fit[i] = fitness(candidate)
                place[i], colour[i] = children[i]
    return shown


@pytest.mark.parametrize("base", ["best", "random", None])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("channels", "pixels"), [(1, 1), (3, 1), (1, 3), (3, 2)])
def test_generations_are_those_of_the_paper(channels, pixels, targeted, base):
    model, x, population, steps = network(channels, 5, 6), images(1, channels, 5, 6), 10, 6
    y = model(x).argmax(1)
    y = (y + 1) % 4 if targeted else y
    recorder = Recorder(model)
    attack = one_pixel(L0(channels * pixels), steps=steps, population=population, base=base, targeted=targeted)
    attack.with_goal(Worst())(recorder, x, y, seed=3)
    settings = {
        "base": base,
        "pixels": pixels,
        "population": population,
        "steps": steps,
        "seed": 3,
        "targeted": targeted,
    }
    with torch.no_grad():
        expected = reference(model, x[0], y[0], **settings)
    assert len(recorder.shown) == 2 + steps
    for ours, theirs in zip(recorder.shown[1:], expected, strict=True):
        assert torch.allclose(ours, torch.stack(theirs), rtol=0, atol=1e-9)


def test_parents_are_three_others_and_equally_likely():
    population = 5
    parents = torch.stack(_three_others(Streams.of(0, torch.arange(4000)), 4000, population))
    own = torch.arange(population)
    assert (parents != own).all()
    assert (parents[0] != parents[1]).all()
    assert (parents[0] != parents[2]).all()
    assert (parents[1] != parents[2]).all()
    for each in parents:
        counts = torch.stack([(each == j).double().mean(0) for j in range(population)])
        assert torch.allclose(counts[counts > 0], torch.tensor(0.25, dtype=torch.float64), atol=0.04)


def test_it_finds_what_a_search_of_every_pixel_finds():
    """Of a linear model the best pixel is known: the one whose way to the end of the box gains most."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).double()
    x = images(10, 1, 6, 8)
    y = model(x).argmax(1)
    weight = (model[1].weight[1 - y] - model[1].weight[y]).detach().view_as(x)
    best = torch.maximum(weight * (1 - x), -weight * x).flatten(1).amax(1)
    result = one_pixel(L0(1), steps=40, population=60).with_goal(Worst())(model, x, y)
    gained = result.margin - margin(model(x), y).detach()
    assert (gained <= best + 1e-9).all()
    assert (gained > 0.95 * best).all()


@pytest.mark.parametrize(("shape", "channels"), [((12,), 1), ((4, 5), 1), ((3, 4, 5), 3)])
def test_a_pixel_is_all_its_channels(shape, channels):
    model, x = network(*shape), images(6, *shape)
    y = model(x).argmax(1)
    result = one_pixel(L0(2 * channels + channels / 2), steps=3, population=20).with_goal(Worst())(model, x, y)
    changed = (result.x != x).flatten(2) if channels > 1 else (result.x != x).flatten(1)[:, None]
    assert int(changed.any(1).sum(1).max()) == 2
    capped = one_pixel(L0(6), steps=3, population=20, pixels=1).with_goal(Worst())(model, x, y)
    assert int((capped.distance).max()) == channels


def test_what_changes_nothing_costs_nothing():
    model, x = network(1, 5, 5), torch.zeros(4, 1, 5, 5, dtype=torch.float64)
    recorder = Recorder(model)
    attack = one_pixel(L0(1), steps=4, population=30).with_goal(Worst())
    result = attack(recorder, x, model(x).argmax(1))
    shown = torch.cat(recorder.shown[1:])
    assert (shown != 0).flatten(1).any(1).all()
    assert (result.forwards < attack.rule.queries).all()
    assert int(result.forwards.sum()) == len(shown) + 4


def test_a_broken_image_has_no_further_generation():
    model, x = network(1, 5, 5, scale=5.0), images(20, 1, 5, 5)
    y = model(x).argmax(1)
    attack = one_pixel(L0(2), steps=30, population=10)
    result = attack(model, x, y)
    assert int(result.broken.sum()) > 0
    assert (result.forwards[~result.broken] > 200).all()
    assert float(result.forwards[result.broken].double().median()) < 200


def test_no_peer_breaks_more():
    torchattacks = peer("torchattacks")
    model, x = network(1, 8, 8, scale=6.0), images(60, 1, 8, 8)
    y = model(x).argmax(1)
    ours = one_pixel(L0(1), steps=8, population=30)(model, x, y).broken
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = model.float(), x.float()
        theirs = model(torchattacks.OnePixel(model, pixels=1, steps=8, popsize=30)(x, y)).argmax(1) != y
    assert 0.1 < float(theirs.double().mean()) < 0.9
    assert int(ours.sum()) >= int(theirs.sum()) - 2 * (60 * 0.25) ** 0.5


@pytest.mark.parametrize(
    ("threat", "settings", "message"),
    [
        (L2(1.0), {}, "expected L0 for one-pixel"),
        (L0(), {}, "expected a radius for one-pixel"),
        (Threat(L0(1), low=-torch.inf), {}, "box with finite sides"),
        (L0(1), {"population": 3}, "population as a whole number >= 4"),
        (L0(1), {"steps": 0}, "steps"),
        (L0(1), {"pixels": 0}, "pixels"),
        (L0(1), {"base": "worst"}, "base as 'random' or 'best'"),
    ],
)
def test_bad_settings_are_errors(threat, settings, message):
    with pytest.raises(InputError, match=message):
        one_pixel(threat, **settings)


def test_a_threat_without_room_for_a_pixel_is_an_error():
    x = images(2, 3, 4, 4)
    model = network(3, 4, 4)
    y = model(x).argmax(1)
    with pytest.raises(InputError, match="L0 radius of at least 3"):
        one_pixel(L0(2))(model, x, y)
    with pytest.raises(InputError, match="at most"):
        one_pixel(L0(9))(network(1, 2, 2, 2), images(2, 1, 2, 2, 2), torch.zeros(2, dtype=torch.int64))
