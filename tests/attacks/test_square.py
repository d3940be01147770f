"""Square against loops written from its paper and its code, candidate by candidate, and against its peers."""

import math
import warnings

import pytest
import torch
from torch import nn

from steelman.attacks import Worst, square
from steelman.attacks.square import Sides
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L1, L2, Linf
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


def network(channels, height, width, classes=4):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(6 * height * width, classes)).double().eval()


def images(n, *shape):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return (x * 1.4 - 0.2).clamp(0, 1)  # some at the ends of the box


def side(p, k, queries, h, w, least, odd):
    """Andriushchenko et al. 2020, section 4.1, as its code counts; AutoAttack's stretching."""
    it = k * 10_000 // queries
    for bound in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000):
        p = p / 2 if it > bound else p
    s = max(round(math.sqrt(p * h * w)), least)
    return min(s + 1 if odd and s % 2 == 0 else s, h, w)


def streams(i):
    return Streams.of(3, torch.tensor([i])).derive("attempt").derive(torch.tensor([0]))


def draws(i, word, k, count):
    like = torch.empty(1, count, dtype=torch.float64)
    return streams(i).derive(word).derive(torch.tensor([k])).uniform(like)[0].tolist()


def bump(s, power):
    """Two halves of opposite signs, each a sum of nested rectangles; of norm one."""

    def half(rows, columns):
        out = torch.zeros(rows, columns, dtype=torch.float64)
        for m in range(max(rows // 2, columns // 2) + 1):
            top, left = rows // 2 - m, columns // 2 - m
            out[max(top, 0) : top + 2 * m + 1, max(left, 0) : left + 2 * m + 1] += (m + 1.0) ** -{1: 4, 2: 2}[power]
        return out / long(out, power).clamp_min(1e-12)

    both = torch.cat([half(s // 2, s), -half(s - s // 2, s)])
    return both / long(both, power)


def long(x, power):
    return x.abs().pow(power).sum((-2, -1), keepdim=True) ** (1 / power)


def linf_reference(model, x, y, i, eps, queries, p):
    c, h, w = x.shape
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    up = streams(i).derive("stripes").uniform(x[None, :, :1])[0] < 0.5
    best, value, shown = x, -math.inf, []
    candidate = torch.where(up, high, low)
    for k in range(queries - 1):
        shown.append(candidate)
        gained = float(margin(model(candidate[None]), y[None]))
        if gained > value:
            best, value = candidate, gained
        s, draw = side(p, k, queries, h, w, 1, False), draws(i, "square", k, 3 + 2 * c)
        r, q = int(draw[0] * (h - s + 1)), int(draw[1] * (w - s + 1))
        window = (slice(None), slice(r, r + s), slice(q, q + s))

        def painted(ups, best=best, window=window):
            out = best.clone()
            ends = torch.tensor(ups)[:, None, None]
            out[window] = torch.where(ends, high[window], low[window])
            return out

        ups = [u < 0.5 for u in draw[3 : 3 + c]]
        candidate = painted(ups)
        if torch.equal(candidate, best):
            one = int(draw[2] * c)
            candidate = painted([not ups[j] if j == one else draw[3 + c + j] < 0.5 for j in range(c)])
    return shown


def projected(x, delta, eps):
    """Onto the L1 ball and the box, by bisection on how much every entry shrinks."""
    cap = torch.where(delta > 0, 1 - x, x)
    low, high = 0.0, float(delta.abs().max())
    for _ in range(200):
        cut = (low + high) / 2
        over = float(torch.minimum((delta.abs() - cut).clamp_min(0), cap).sum()) > eps
        low, high = (cut, high) if over else (low, cut)
    return delta.sign() * torch.minimum((delta.abs() - high).clamp_min(0), cap)


def window_reference(model, x, y, i, eps, queries, p, power):
    c, h, w = x.shape

    def fitted(delta):
        if power == 2:
            return (x + delta / delta.norm() * eps).clamp(0, 1)
        return x + projected(x, delta, eps * (1 - 1e-6))

    s = min(h, w) // 5
    down, across = h // s, w // s
    like = torch.empty(1, c, down, across, dtype=torch.float64)
    turned = streams(i).derive("turn").uniform(like[:, :1])[0, 0] < 0.5
    sign = 1 - 2 * (streams(i).derive("sign").uniform(like)[0] < 0.5).double()
    delta = torch.zeros_like(x)
    for a in range(down):
        for b in range(across):
            tile = bump(s, power).T if turned[a, b] else bump(s, power)
            r, q = (h - down * s) // 2 + a * s, (w - across * s) // 2 + b * s
            delta[:, r : r + s, q : q + s] = tile * sign[:, a, b, None, None]
    candidate = fitted(delta * max(1, eps / float(delta.abs().pow(power).sum() ** (1 / power))))
    best, value, shown = x, -math.inf, []
    for k in range(queries - 1):
        shown.append(candidate)
        gained = float(margin(model(candidate[None]), y[None]))
        if gained > value:
            best, value = candidate, gained
        s, draw = side(p, k, queries, h, w, 3, True), draws(i, "windows", k, 5 + c)
        r, q, r2, q2 = (int(u * (n - s + 1)) for u, n in zip(draw[:4], (h, w, h, w), strict=True))
        first, second = torch.zeros(h, w).bool(), torch.zeros(h, w).bool()
        first[r : r + s, q : q + s] = True
        second[r2 : r2 + s, q2 : q2 + s] = True
        delta = best - x
        held = long(delta * (first | second), power)
        sign = 1 - 2 * (torch.tensor(draw[5:]) < 0.5).double()[:, None, None]
        old = delta[:, r : r + s, q : q + s]
        new = (bump(s, power).T if draw[4] < 0.5 else bump(s, power)) * sign + old / (1e-12 + long(old, power))
        spent = float(delta.abs().pow(power).sum()) ** (1 / power)
        room = (max(eps**power - spent**power, 0) / c + held**power) ** (1 / power) * (1 if power == 2 else c)
        delta = delta * ~second
        delta[:, r : r + s, q : q + s] = new / (1e-12 + long(new, power)) * room
        candidate = fitted(delta)
    return shown


@pytest.mark.parametrize("shape", [(1, 10, 10), (3, 11, 13)])
@pytest.mark.parametrize("norm", [Linf, L2, L1])
def test_candidates_are_those_of_the_paper(norm, shape):
    queries, p, eps = 60, 0.5, {Linf: 0.1, L2: 1.0, L1: 4.0}[norm]
    model, x = network(*shape), images(5, *shape)
    y = model(x).argmax(1)
    recorder = Recorder(model)
    square(norm(eps), queries=queries, p=p).with_goal(Worst())(recorder, x, y, seed=3)
    assert len(recorder.shown) == queries
    assert torch.equal(recorder.shown[0], x)
    for i in range(len(x)):
        with torch.no_grad():
            if norm is Linf:
                expected = linf_reference(model, x[i], y[i], i, eps, queries, p)
            else:
                expected = window_reference(model, x[i], y[i], i, eps, queries, p, 2 if norm is L2 else 1)
        for k, (ours, theirs) in enumerate(zip(recorder.shown[1:], expected, strict=True)):
            assert torch.allclose(ours[i], theirs, rtol=0, atol=1e-5 if norm is L1 else 1e-9), k


@pytest.mark.parametrize("queries", [1000, 5000, 10_000])
def test_sides_shrink_as_in_the_code(queries):
    k = torch.arange(0, queries, 7)
    for least, odd in ((1, False), (3, True)):
        ours = Sides(0.8, queries, least, odd)(k, 28, 30)
        assert ours.tolist() == [side(0.8, j, queries, 28, 30, least, odd) for j in k.tolist()]
    assert Sides(0.8, None)(torch.tensor([10, 11]), 28, 30).tolist() == [26, 18]


@pytest.mark.parametrize("norm", [Linf, L2, L1])
def test_a_linear_model_breaks_above_its_margin_and_never_below(norm):
    """The Linf optimum is a corner, which flipping single pixels finds; windows come near it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).double()
    x = images(10, 1, 6, 6)
    y = model(x).argmax(1)
    weight = (model[1].weight[0] - model[1].weight[1]).detach()
    dual = {Linf: 1, L2: 2, L1: torch.inf}[norm]
    least = -margin(model(x), y).detach() / weight.norm(p=dual)
    threat = Threat(norm(least), low=-100.0, high=100.0)
    attack = square(threat, queries=600, p=0.1)
    assert not attack.at(least * 0.99)(model, x, y).broken.any()
    assert attack.at(least * (1.01 if norm is Linf else 2.5))(model, x, y).broken.all()


def test_every_query_tries_something_new():
    model, x = network(1, 8, 8), images(4, 1, 8, 8)
    recorder = Recorder(model)
    square(Linf(0.1), queries=80).with_goal(Worst())(recorder, x, model(x).argmax(1))
    best, value = x.clone(), torch.full((4,), -torch.inf, dtype=torch.float64)
    for shown in recorder.shown[1:]:
        assert (shown != best).flatten(1).any(1).all()
        gained = margin(model(shown), model(x).argmax(1)).detach()
        better = gained > value
        best[better], value[better] = shown[better], gained[better]


def test_the_last_row_and_column_are_reached():
    model, x = network(1, 4, 4), images(1, 1, 4, 4)
    recorder = Recorder(model)
    square(Linf(0.1), queries=200, p=0.05).with_goal(Worst())(recorder, x, model(x).argmax(1))
    shown = torch.cat(recorder.shown[1:])
    assert len(shown[:, 0, 3, 3].unique()) == 2


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("library", ["pyautoattack", "torchattacks"])
def test_no_peer_breaks_more(norm, library):
    installed = peer(f"{library}.square" if library == "pyautoattack" else library)
    model, n, queries = network(1, 15, 15, 5), 150, 100
    x = images(n, 1, 15, 15)
    y = model(x).argmax(1)
    eps = {"linf": 0.15, "l2": 1.5}[norm]
    name = {"linf": "Linf", "l2": "L2"}[norm]
    ours = square((Linf if norm == "linf" else L2)(eps), queries=queries)(model, x, y).broken
    kind = installed.SquareAttack if library == "pyautoattack" else installed.Square
    with torch.random.fork_rng(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attack = kind(model, norm=name, eps=eps, n_queries=queries, p_init=0.8, n_restarts=1, seed=0)
        found = attack.perturb(x, y) if library == "pyautoattack" else attack(x, y)
        theirs = model(found).argmax(1) != y
    assert 0.1 < float(theirs.double().mean()) < 0.9
    assert int(ours.sum()) >= int(theirs.sum()) - 2 * (n * 0.25) ** 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queries": 2}, "queries as a whole number >= 3"),
        ({"p": 0.0}, "p as a number > 0"),
        ({"p": 1.5}, r"p as a number in \[0, 1\]"),
        ({"restarts": 0}, "restarts"),
    ],
)
def test_bad_settings_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        square(Linf(0.1), **settings)


def test_images_of_four_dimensions_are_an_error():
    x = torch.rand(2, 1, 2, 2, 2)
    with pytest.raises(InputError, match="at most"):
        square(Linf(0.1))(nn.Sequential(nn.Flatten(), nn.Linear(8, 2)), x, torch.zeros(2, dtype=torch.int64))
