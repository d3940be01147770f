"""A ball inside a box: what is inside, and how to get there."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steelman.errors import InputError
from steelman.norms import L0, L1, L2, Linf
from steelman.streams import Streams
from steelman.threat import Threat, reach

BALLS = [Linf(0.2), L2(0.5), L1(0.8), L0(3)]


def pair(n, shape, seed, dtype, spread):
    """Clean images, some of them at the walls, and candidates `spread` away from them."""
    generator = torch.Generator().manual_seed(seed)
    clean = (1.4 * torch.rand(n, *shape, generator=generator, dtype=torch.float64) - 0.2).clamp(0, 1).to(dtype)
    return clean, clean + (spread * torch.randn(n, *shape, generator=generator, dtype=torch.float64)).to(dtype)


pairs = st.builds(
    pair,
    n=st.integers(1, 4),
    shape=st.sampled_from([(6,), (2, 4), (2, 3, 3)]),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    spread=st.sampled_from([1e-3, 0.1, 2.0]),
)


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.name)
@given(pairs)
def test_a_projection_is_inside_and_what_is_inside_stays(ball, images):
    clean, x = images
    threat = Threat(ball)
    p = threat.project(x, around=clean)
    assert threat.holds(p, around=clean).all()
    assert p.min() >= 0
    assert p.max() <= 1
    again = threat.project(p, around=clean)
    assert torch.allclose(again, p, rtol=0, atol=1e-6)
    assert threat.holds(again, around=clean).all()


@given(pairs, st.integers(0, 1000))
def test_the_linf_projection_is_the_nearest_point_of_ball_and_box(images, seed):
    clean, x = images
    threat = Threat(Linf(0.2))
    p = threat.project(x, around=clean)
    rival = threat.sample(Streams.of(seed, torch.arange(len(x))), around=clean)
    for q in (rival, 0.99 * p + 0.01 * rival):
        assert ((p - x).flatten(1).norm(dim=1) <= (q - x).flatten(1).norm(dim=1) + 1e-5).all()


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.name)
@given(pairs, st.integers(0, 1000))
def test_draws_are_inside(ball, images, seed):
    clean, _ = images
    x = Threat(ball).sample(Streams.of(seed, torch.arange(len(clean))), around=clean)
    assert Threat(ball).holds(x, around=clean).all()
    assert x.shape == clean.shape
    assert x.dtype == clean.dtype
    assert not torch.equal(x, clean)


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.name)
@given(pairs)
def test_no_radius_no_change(ball, images):
    clean, x = images
    threat = Threat(ball.at(0))
    assert torch.equal(threat.project(clean, around=clean), clean)
    assert torch.equal(threat.project(x, around=clean), clean)
    assert torch.equal(threat.sample(Streams.of(0, torch.arange(len(x))), around=clean), clean)


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.name)
@given(pairs)
def test_holds_sees_what_is_outside(ball, images):
    clean, _ = images
    threat = Threat(ball)
    assert threat.holds(clean, around=clean).all()
    assert not threat.holds(clean + 5, around=clean).any()
    assert not threat.holds(clean * torch.nan, around=clean).any()
    # inside the box but too far, and near but outside the box
    assert not threat.holds(1 - clean.round(), around=clean.round()).any()
    assert not Threat(ball.at(100), 0.4, 0.6).holds(clean.round(), around=clean).any()


def test_each_sample_has_its_own_radius():
    clean = torch.full((3, 4), 0.5)
    threat = Threat(Linf(torch.tensor([0.0, 0.1, 0.3])))
    p = threat.project(clean + 1, around=clean)
    assert torch.allclose((p - clean).amax(1), torch.tensor([0.0, 0.1, 0.3]))
    assert threat.holds(p, around=clean).all()
    assert threat.holds(p.flip(0), around=clean).tolist() == [False, True, True]
    assert torch.equal(threat.take(torch.tensor([2, 0])).eps, torch.tensor([0.3, 0.0]))
    assert Threat(Linf(0.3)).take(torch.tensor([1])).eps == 0.3


def test_sparse_moves_leave_stopped_entries_alone():
    at = torch.tensor([[1.0, 0.0, 0.5, 0.2]])
    grad = torch.tensor([[9.0, -8.0, 1.0, 0.5]])
    assert Threat(L1(1.0)).steepest(grad, at=at).tolist() == [[0, 0, 1, 0]]
    assert Threat(L1(1.0)).steepest(-grad, at=at).tolist() == [[-1, 0, 0, 0]]
    assert Threat(L0(1)).steepest(grad, at=at).tolist() == [[0, 0, 1, 0]]
    assert torch.equal(Threat(Linf(1.0)).steepest(grad, at=at), grad.sign())


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.5, 0.5), (float("nan"), 1.0)])
def test_an_empty_box_is_an_error(low, high):
    with pytest.raises(InputError, match="low < high"):
        Threat(Linf(0.1), low, high)


def test_a_ball_is_a_threat_on_the_unit_box():
    ball = Linf(0.3)
    assert (Threat.of(ball).low, Threat.of(ball).high, Threat.of(ball).eps) == (0, 1, 0.3)
    threat = Threat(ball, -1, 1)
    assert Threat.of(threat) is threat
    assert (threat.at(0.5).low, threat.at(0.5).eps) == (-1, 0.5)
    assert repr(threat) == "Threat(ball=Linf(eps=0.3), low=-1, high=1, levels=None)"


@given(eps=st.floats(0, 100), share=st.floats(-3, 3))
def test_a_number_and_a_tensor_are_inside_by_one_rule(eps, share):
    distance = eps + share * (reach(eps) - eps)
    threat = Threat(L2(eps))
    held = bool(threat.reaches(torch.tensor([distance], dtype=torch.float64)))
    assert held == (distance <= reach(eps))
    assert held == (share <= 1) or abs(share - 1) < 1e-6
