"""Balls as mathematics: nearest points, steepest moves and draws, sample by sample."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steelman.errors import InputError
from steelman.norms import ANY, L0, L1, L2, Linf, column
from steelman.streams import Streams

SHAPES = [(7,), (3, 4), (2, 3, 4)]
CONVEX = [Linf, L2, L1]


def order(ball):
    return {"Linf": torch.inf, "L2": 2, "L1": 1}[ball.name]


def length(x, p):
    return torch.linalg.vector_norm(x.double().flatten(1), ord=p, dim=1)


def inner(a, b):
    return (a.double() * b.double()).flatten(1).sum(1)


def draw(n, shape, seed, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64) * scale
    zeros = torch.rand(x.shape, generator=generator) < 0.1
    return x.masked_fill(zeros, 0).to(dtype)


points = st.builds(
    draw,
    n=st.integers(1, 5),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    scale=st.sampled_from([1e-3, 0.1, 1.0, 30.0]),
)
radii = st.floats(0, 3)


def slack(x):
    return 200 * torch.finfo(x.dtype).eps * (1 + float(x.abs().max()))


@pytest.mark.parametrize("norm", CONVEX)
@given(points, radii)
def test_a_projection_is_feasible_and_idempotent(norm, x, eps):
    ball = norm(eps)
    p = ball.project(x)
    assert p.shape == x.shape
    assert p.dtype == x.dtype
    assert (length(p, order(ball)) <= eps + slack(x)).all()
    assert torch.allclose(ball.project(p), p, rtol=0, atol=slack(x))


@pytest.mark.parametrize("norm", CONVEX)
@given(points, radii)
def test_a_projection_is_the_nearest_point(norm, x, eps):
    """Just if no point of a convex ball lies further along x - p than p does: <x - p, p> = eps · dual(x - p)."""
    ball = norm(eps)
    p = ball.project(x)
    away = x.double() - p.double()
    most = eps * length(away, ball.dual)
    assert torch.allclose(inner(away, p), most, rtol=1e-4, atol=slack(x) * (1 + eps) * (1 + float(x.abs().sum())))


@pytest.mark.parametrize("norm", CONVEX)
@given(points, st.floats(0.01, 3), st.integers(0, 100))
def test_no_drawn_point_of_the_ball_is_nearer_than_the_projection(norm, x, eps, seed):
    ball = norm(eps)
    p = ball.project(x)
    for attempt in range(5):
        rival = ball.sample(Streams.of(seed, torch.arange(len(x))).derive(attempt), x)
        for share in (0.0, 0.9, 0.99):
            near = share * p + (1 - share) * rival
            assert (length(x - p, 2) <= length(x - near, 2) + slack(x)).all()


@pytest.mark.parametrize("norm", CONVEX)
@given(points, st.floats(0, 1))
def test_points_inside_stay_bit_by_bit(norm, x, share):
    inside = norm(1.0).project(x) * share * 0.999
    assert torch.equal(norm(1.0).project(inside), inside)


@given(st.integers(0, 2**31), st.integers(0, 5))
def test_the_l0_projection_keeps_the_best_subset(seed, eps):
    x = draw(3, (5,), seed)
    p = L0(eps).project(x)
    assert ((p != 0).sum(1) <= eps).all()
    for row, projected in zip(x, p, strict=True):
        rest = [torch.tensor([i for i in range(5) if i not in kept]).long() for kept in combinations(range(5), eps)]
        nearest = min(float(row[gone].square().sum()) for gone in rest)
        assert float((row - projected).square().sum()) == pytest.approx(nearest, abs=1e-12)


@pytest.mark.parametrize("norm", [Linf, L2, L1, L0])
@given(points, st.integers(0, 2**31))
def test_each_sample_is_on_its_own(norm, x, seed):
    eps = 3 * torch.rand(len(x), generator=torch.Generator().manual_seed(seed))
    streams = Streams.of(seed, torch.arange(len(x)))
    for i in range(len(x)):
        alone, many, one = norm(float(eps[i])), norm(eps), x[i : i + 1]
        for f in ("project", "steepest"):
            whole = getattr(many, f)(x)[i : i + 1]
            assert torch.allclose(getattr(alone, f)(one), whole, rtol=1e-5, atol=slack(one))
        assert torch.allclose(alone.size(one), many.size(x)[i : i + 1])
        own = Streams(streams.key[i : i + 1])
        assert torch.allclose(alone.sample(own, one), many.sample(streams, x)[i : i + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ball", [Linf(0.3), L2(0.3), L1(0.3, share=1e-9)])
def test_the_steepest_move_has_norm_one_and_attains_the_dual_norm(ball, shape, scale):
    grad = draw(6, shape, seed=4, scale=scale).float()
    move = ball.steepest(grad)
    assert torch.allclose(length(move, order(ball)), torch.ones(6).double(), atol=1e-5)
    # below 1e-38 single precision has few digits left
    rough = 1e-2 if scale < 1e-38 else 1e-5
    assert torch.allclose(inner(grad, move), length(grad, ball.dual), rtol=rough, atol=0)


@pytest.mark.parametrize("ball", [Linf(0.3), L2(0.3), L1(0.3), L1(0.3, share=0.5), L0(3)])
def test_no_gradient_no_move(ball):
    grad = torch.zeros(2, 3, 4)
    grad[1, 0, 0] = 2.0
    move = ball.steepest(grad)
    assert not move[0].any()
    assert move[1, 0, 0] == 1


def test_a_sparse_step_spreads_over_its_share_of_the_largest_entries():
    grad = torch.tensor([[4.0, -3.0, 2.0, 1.0], [0.0, 0.0, -1.0, 0.0]])
    assert L1(1.0, share=0.5).steepest(grad).tolist() == [[0.5, -0.5, 0, 0], [0, 0, -1, 0]]
    assert L1(1.0).steepest(grad).tolist() == [[1, 0, 0, 0], [0, 0, -1, 0]]
    assert L0(2).steepest(grad).tolist() == [[1, -1, 0, 0], [0, 0, -1, 0]]


@pytest.mark.parametrize("ball", [Linf(0.7), L2(0.7), L1(0.7)])
def test_draws_fill_the_ball_evenly(ball):
    """In a uniform draw from a d-ball (norm / eps) ** d is uniform, and the mean is the centre."""
    d = 6
    x = ball.sample(Streams.of(1, torch.arange(20_000)), torch.zeros(20_000, 2, 3))
    filled = (length(x, order(ball)) / 0.7) ** d
    assert filled.max() <= 1 + 1e-5
    quantiles = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]).double()
    assert torch.allclose(filled.quantile(quantiles), quantiles, atol=0.015)
    assert x.mean(0).abs().max() < 0.01


def test_l0_draws_change_eps_entries_each_somewhere():
    x = L0(2).sample(Streams.of(1, torch.arange(2_000)), torch.zeros(2_000, 5))
    assert ((x != 0).sum(1) == 2).all()
    assert torch.allclose((x != 0).double().mean(0), torch.full((5,), 0.4).double(), atol=0.05)


@pytest.mark.parametrize("norm", [Linf, L2, L1, L0])
@pytest.mark.parametrize("eps", [-0.1, float("nan"), "0.3", None, True, torch.tensor([0.1, -0.1]), torch.zeros(2, 2)])
def test_a_radius_that_is_none_is_an_error(norm, eps):
    with pytest.raises(InputError, match="expected eps"):
        norm(eps)


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_outside_its_range_is_an_error(share):
    with pytest.raises(InputError, match="share"):
        L1(0.3, share=share)


@pytest.mark.parametrize("norm", [Linf, L2, L1, L0])
def test_one_eps_for_each_sample_or_an_error(norm):
    with pytest.raises(InputError, match="each of 3 samples"):
        norm(torch.tensor([1.0, 2.0])).project(torch.ones(3, 4))


def test_a_column_broadcasts_and_takes_the_type_of_its_images():
    x = torch.zeros(3, 2, 2, dtype=torch.float64)
    assert column(torch.arange(3), x).shape == (3, 1, 1)
    assert column(torch.arange(3), x).dtype == torch.float64
    assert column(torch.tensor(0.5), x) == 0.5
    assert column(1, x) == 1.0
    with pytest.raises(InputError, match="each of 3 samples"):
        column(torch.arange(2), x)


def test_another_radius_keeps_the_rest():
    assert L1(0.3, share=0.2).at(0.5).share == 0.2
    assert [type(ball(1).at(2)) for ball in (Linf, L2, L1, L0)] == [Linf, L2, L1, L0]
    assert repr(Linf(0.3)) == "Linf(eps=0.3)"


@pytest.mark.parametrize("ball", [Linf(0.3), L2(0.3), L1(0.3), L0(3)])
def test_the_diameter_is_the_distance_of_two_opposite_corners_of_the_box(ball):
    black, white = torch.full((1, 2, 5), -1.0), torch.full((1, 2, 5), 1.0)
    assert ball.diameter(10, 2.0) == pytest.approx(float(ball.size(white - black)), rel=1e-6)


def test_noise_points_everywhere_and_is_each_samples_own():
    like, streams = torch.zeros(4, 500), Streams.of(0, torch.arange(4))
    flat, rounds = Linf(0.3).noise(streams, like), [norm(0.3).noise(streams, like) for norm in (L2, L1, L0)]
    assert float(flat.abs().max()) <= 1
    assert float(flat.min()) < -0.9 < 0.9 < float(flat.max())
    assert all(torch.equal(one, rounds[0]) for one in rounds)
    assert float(rounds[0].std()) == pytest.approx(1, abs=0.1)
    assert len({tuple(row) for row in flat.tolist()}) == 4


def test_usual_radii_are_known_once():
    assert (Linf.usual["mnist"], Linf.usual["fashion-mnist"], Linf.usual["cifar10"]) == (0.3, 0.1, 8 / 255)
    assert (L2.usual["mnist"], L2.usual["fashion-mnist"]) == (2.0, 1.0)
    assert all(norm.usual[ANY] > 0 for norm in (Linf, L2, L1))
    assert [norm.entrywise for norm in (Linf, L2, L1, L0)] == [True, False, False, False]
