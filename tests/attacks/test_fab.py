"""FAB: its projections against a solver, its steps against a loop from its paper, its changes against the optimum."""

import math
import warnings

import pytest
import torch
from scipy import optimize
from torch import nn

from steelman.attacks import Break, fab, fab_t
from steelman.attacks.projections import onto_plane
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L0, L1, L2, Linf
from steelman.threat import Threat

from .test_peers import peer

NORMS = {"Linf": (Linf, math.inf, 1), "L2": (L2, 2, 2), "L1": (L1, 1, math.inf)}
each_norm = pytest.mark.parametrize("norm", NORMS)


def planes(dtype=torch.float64, n=25, d=8):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, d, generator=generator, dtype=torch.float64)
    w = torch.randn(n, d, generator=generator, dtype=torch.float64)
    x[1::3, :4] = x[1::3, :4].round()
    w[::5, :3] = 0
    b = (w * x).sum(1) + 1.5 * torch.randn(n, generator=generator, dtype=torch.float64)
    return x.to(dtype), w.to(dtype), b.to(dtype)


def nearest(x, w, b, norm):
    """The least size of a change inside [0, 1] that reaches the plane, by a solver; None where none does."""
    d = len(x)
    if not w.clip(max=0).sum() <= b <= w.clip(min=0).sum():
        return None
    room = [(0, 1 - value) for value in x] + [(0, value) for value in x]
    split = [*w, *-w]
    if norm == "L2":
        start = [0.01] * (2 * d)
        plane = {"type": "eq", "fun": lambda u: split @ u - (b - w @ x)}
        found = optimize.minimize(
            lambda u: ((u[:d] - u[d:]) ** 2).sum(), start, bounds=room, constraints=plane, method="SLSQP", tol=1e-12
        )
        return math.sqrt(found.fun)
    if norm == "L1":
        return optimize.linprog([1] * (2 * d), A_eq=[split], b_eq=[b - w @ x], bounds=room).fun
    largest = [[float(i == j) for j in range(d)] * 2 + [-1.0] for i in range(d)]
    cost, plane = [0] * (2 * d) + [1], [[*split, 0]]
    return optimize.linprog(cost, largest, [0] * d, plane, [b - w @ x], [*room, (0, None)]).fun


@each_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_projection_is_the_nearest_point_of_the_plane_inside_the_box(norm, dtype):

    x, w, b = planes(dtype)
    move = onto_plane(x, w, b, norm=norm, low=0.0, high=1.0)
    inside, size = x + move, torch.linalg.vector_norm(move, ord=NORMS[norm][1], dim=1)
    assert inside.min() >= -1e-7
    assert inside.max() <= 1 + 1e-7
    assert not move[w == 0].any()
    reached = 0
    for i in range(len(x)):
        least = nearest(x[i].double().numpy(), w[i].double().numpy(), float(b[i]), norm)
        if least is None:
            corner = torch.where((w[i] > 0) == (b[i] > (w[i] * x[i]).sum()), 1, 0).to(x)
            assert torch.allclose(inside[i][w[i] != 0], corner[w[i] != 0], atol=1e-6)
        else:
            reached += 1
            assert float((w[i] * inside[i]).sum()) == pytest.approx(float(b[i]), abs=1e-5)
            assert float(size[i]) == pytest.approx(least, abs=2e-5)
    assert 10 < reached < len(x)


@each_norm
def test_a_projection_stands_alone_and_scales_with_nothing(norm):
    x, w, b = planes()
    move = onto_plane(x, w, b, norm=norm, low=0.0, high=1.0)
    for i in (0, 7):
        alone = onto_plane(x[i : i + 1], w[i : i + 1], b[i : i + 1], norm=norm, low=0.0, high=1.0)
        assert torch.allclose(alone[0], move[i], atol=1e-12)
    for scale in (1e-25, 1e25):
        assert torch.allclose(onto_plane(x, scale * w, scale * b, norm=norm, low=0.0, high=1.0), move, atol=1e-12)


@each_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_projection_without_a_box_is_the_dual_norms(norm, dtype):
    x, w, b = planes(dtype)
    move = onto_plane(x, w, b, norm=norm, low=-math.inf, high=math.inf)
    _, p, dual = NORMS[norm]
    least = (b - (w * x).sum(1)).abs() / torch.linalg.vector_norm(w, ord=dual, dim=1)
    assert torch.allclose(torch.linalg.vector_norm(move, ord=p, dim=1), least, rtol=1e-5)
    assert not onto_plane(x, 0 * w, b, norm=norm, low=-math.inf, high=math.inf).any()


class Recorder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.shown = []

    def forward(self, x):
        self.shown.append(x.detach().clone())
        return self.model(x)


def network(classes=4, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(10, 24), nn.Softplus(beta=5), nn.Linear(24, classes)).to(dtype)
    model[2].weight.data *= 4
    return model


def images(model, n=8):
    x = torch.rand(n, 10, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return x, model(x).argmax(1)


def project(x, w, b, norm):
    """One image, by bisection on the multiplier or, in L1, entry by entry."""
    gap, sign = b - w @ x, (w * (b - w @ x)).sign()
    room, weight = torch.where(sign > 0, 1 - x, x) * sign.abs(), w.abs()
    if norm == "L1":
        u, rest = torch.zeros_like(x), float(gap.abs())
        for j in weight.argsort(descending=True):
            u[j] = min(float(room[j]), rest / float(weight[j]))
            rest -= float(u[j] * weight[j])
        return sign * u
    pace = torch.ones_like(x) if norm == "Linf" else weight
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if weight @ torch.minimum(middle * pace, room) < gap.abs() else (low, middle)
    return sign * torch.minimum(low * pace, room)


def loop(model, x, y, norm, classes, steps):
    """Algorithm 1 of the paper on one image: what is shown, in order."""
    _, p, dual = NORMS[norm]
    at, shown = x, []
    for _ in range(steps):
        shown.append(at)
        planes = []
        for c in classes:
            point = at.clone().requires_grad_()
            logits = model(point[None])[0]
            gap = logits[c] - logits[y]
            slope = torch.autograd.grad(gap, point)[0]
            gap = gap.detach()
            planes.append((float(gap.abs() / slope.norm(dual)), slope, slope @ at - gap))
        _, w, b = min(planes, key=lambda plane: plane[0])
        near, far = project(at, w, b, norm), project(x, w, b, norm)
        alpha = min(float(near.norm(p) / (near.norm(p) + far.norm(p))), 0.1)
        at = ((1 - alpha) * (at + 1.05 * near) + alpha * (x + 1.05 * far)).clamp(0, 1)
        shown.append(at)
        if model(at[None]).argmax() != y:
            at = x + 0.9 * (at - x)
    return torch.stack(shown)


@each_norm
def test_fab_takes_the_papers_steps(norm):
    model = network()
    x, y = images(model)
    recorder = Recorder(model)
    fab(NORMS[norm][0](), steps=8, final=0)(recorder, x, y)
    seen = torch.stack(recorder.shown[1:], 1)
    for i in range(len(x)):
        others = [c for c in range(4) if c != y[i]]
        assert torch.allclose(seen[i], loop(model, x[i], int(y[i]), norm, others, 8), atol=1e-8)


@each_norm
def test_fab_t_takes_one_class_after_another(norm):
    model = network()
    x, y = images(model)
    recorder = Recorder(model)
    fab_t(NORMS[norm][0](), steps=5, final=0, classes=2)(recorder, x, y)
    seen = torch.stack(recorder.shown[1:], 1).unflatten(0, (len(x), 2))  # both classes at once: there are slots enough
    order = model(x).argsort(1, descending=True)[:, 1:]
    for i in range(len(x)):
        for turn in (0, 1):
            expected = loop(model, x[i], int(y[i]), norm, [int(order[i, turn])], 5)
            assert torch.allclose(seen[i, turn], expected, atol=1e-8)


@each_norm
@pytest.mark.parametrize("recipe", [fab, fab_t])
@pytest.mark.parametrize("classes", [2, 7])
def test_on_a_linear_model_it_finds_the_smallest_change(norm, recipe, classes):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Linear(20, classes).double()
    x = torch.rand(16, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits, weight = model(x).detach(), model.weight.detach()
    y = logits.argmax(1)
    ball, _, dual = NORMS[norm]
    gap = logits.gather(1, y[:, None]) - logits
    slope = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=dual, dim=2)
    least = (gap / slope).nan_to_num(torch.inf).amin(1)
    found = recipe(Threat(ball(), low=-1e3, high=1e3), steps=5)(model, x, y)
    assert found.broken.all()
    assert (found.distance >= least * (1 - 1e-9)).all()
    assert (found.distance <= least * 1.001).all()


@each_norm
def test_the_final_search_comes_nearer_and_stays_across(norm):
    model = network()
    x, y = images(model, 30)
    plain = fab(NORMS[norm][0](), steps=3, final=0)(model, x, y)
    closed = fab(NORMS[norm][0](), steps=3)(model, x, y)
    assert (closed.distance <= plain.distance).all()
    assert (closed.distance < plain.distance * 0.999).any()
    assert (closed.margin[closed.broken] > 1e-6).all()
    assert torch.equal(closed.forwards, plain.forwards + 3 * plain.broken)


@each_norm
@pytest.mark.parametrize("recipe", [fab, fab_t])
def test_inside_a_radius_what_breaks_leaves_and_the_rest_is_begun_again(norm, recipe):
    model = network()
    x, y = images(model, 30)
    ball, p, _ = NORMS[norm]
    eps = float(fab(ball())(model, x, y).distance.median())
    attack = recipe(ball(eps), steps=10, restarts=2).with_goal(Break())
    found = attack(model, x, y)
    assert 0 < found.broken.sum() < len(x)
    assert ((found.x - x).norm(p, dim=1) <= eps + 1e-6).all()
    attempts = 2 if recipe is fab else 6
    assert (found.forwards[~found.broken] == 1 + attempts * 20).all()
    assert (found.forwards[found.broken] < 1 + attempts * 20).any()


@each_norm
def test_restarts_begin_at_half_of_what_is_known(norm):
    model = network()
    x, y = images(model)
    ball, p, _ = NORMS[norm]
    first = fab(ball(), steps=6, final=0)(model, x, y).distance
    wide = Threat(ball(), low=-9.0, high=9.0)
    for threat, reach in ((ball(), first), (ball(0.01), torch.full_like(first, 0.01)), (wide, None)):
        recorder = Recorder(model)
        fab(threat, steps=6, restarts=2, final=0)(recorder, x, y)
        begun = (recorder.shown[13] - x).norm(p, dim=1)
        assert (begun > 0).all()
        if reach is not None:
            assert (begun <= reach / 2 + 1e-9).all()


def test_an_image_without_a_gradient_stays_where_it_is():
    class Flat(nn.Module):
        def forward(self, x):
            high = x.clamp_min(0.5).sum(1)
            return torch.stack([high, 0 * high - 20], 1)

    x = torch.full((2, 10), 0.2)
    x[1] = 0.9
    for recipe in (fab, fab_t):
        found = recipe(L2(), steps=4, restarts=2)(Flat(), x, torch.zeros(2, dtype=torch.int64))
        assert torch.isfinite(found.x).all()
        assert not found.broken.any()


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("targeted", [False, True], ids=["fab", "fab_t"])
def test_no_change_is_larger_than_autoattacks(norm, targeted):
    peer("pyautoattack")
    from pyautoattack.fab_pt import FABAttack_PT

    model = network(classes=6, dtype=torch.float32)
    x, y = images(network(classes=6), 60)
    x = x.float()
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        settings = {"norm": norm, "n_iter": 20, "eps": 1e3, "device": "cpu", "targeted": targeted}
        theirs = FABAttack_PT(model, n_target_classes=1, **settings).perturb(x, y)
    ours = (fab_t if targeted else fab)(NORMS[norm][0](), steps=20, classes=1 if targeted else None)(model, x, y)
    broken = margin(model(theirs), y) > 0
    size = torch.linalg.vector_norm(theirs - x, ord=NORMS[norm][1], dim=1)
    assert broken.sum() > 40
    assert int(ours.broken.sum()) >= int(broken.sum())
    assert float(ours.distance[broken].median()) <= float(size[broken].median()) * 1.0001


@pytest.mark.parametrize(
    "bad",
    [{"steps": 0}, {"restarts": 0}, {"alpha_max": 1.5}, {"eta": 0.9}, {"beta": -0.1}, {"classes": 0}, {"final": -1}],
)
@pytest.mark.parametrize("recipe", [fab, fab_t])
def test_settings_that_make_no_attack_are_errors(recipe, bad):
    with pytest.raises(InputError, match="expected"):
        recipe(L2(), **bad)


def test_only_the_papers_norms_are_known():
    with pytest.raises(InputError, match="Linf or L2 or L1 for fab"):
        fab(L0(3))
