"""One stream for each sample: even, independent, and nobody's business but its own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from steelman.streams import Streams

indices = st.lists(st.integers(0, 2**40), min_size=1, max_size=8, unique=True)


@given(
    indices, st.integers(0, 2**63), st.randoms(use_true_random=False), st.sampled_from([torch.float32, torch.float64])
)
def test_a_draw_depends_on_its_own_index_alone(places, seed, random, dtype):
    def drawn(chosen):
        streams, like = Streams.of(seed, torch.tensor(chosen)), torch.empty(len(chosen), 3, 2, dtype=dtype)
        counter = torch.arange(len(chosen)) * 0 + 7
        return torch.stack(
            [
                streams.uniform(like),
                streams.normal(like),
                streams.derive("start").uniform(like),
                streams.derive(counter).uniform(like),
                streams.below(1000, like).to(dtype),
            ],
            dim=1,
        )

    whole = dict(zip(places, drawn(places), strict=True))
    subset = random.sample(places, random.randint(1, len(places)))
    for place, own in zip(subset, drawn(subset), strict=True):
        assert torch.equal(own, whole[place])
        assert torch.equal(own, drawn([place])[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_uniform_draws_are_even_in_the_half_open_unit_interval(dtype):
    u = Streams.of(0, torch.arange(400)).uniform(torch.empty(400, 500, dtype=dtype))
    assert u.dtype == dtype
    assert u.min() >= 0
    assert u.max() < 1
    u = u.double()
    step = torch.finfo(dtype).eps / 4  # the mean of a coarse grid is half a step low
    assert float(u.mean()) == pytest.approx(0.5 - step, abs=0.002)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.001)
    counts = torch.histc(u, bins=16, min=0, max=1)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_normal_draws_are_normal():
    z = Streams.of(3, torch.arange(100)).normal(torch.empty(100, 1000, dtype=torch.float64)).flatten()
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3
    assert float(z.pow(4).mean()) == pytest.approx(3, abs=0.1)


def test_whole_numbers_are_even_below_their_bound():
    drawn = Streams.of(0, torch.arange(50)).below(7, torch.empty(50, 20, 20))
    assert drawn.shape == (50, 20, 20)
    assert (drawn.min(), drawn.max()) == (0, 6)
    assert stats.chisquare(drawn.flatten().bincount().numpy()).pvalue > 1e-4


def test_seeds_indices_purposes_and_places_are_independent():
    like = torch.empty(100, 200, dtype=torch.float64)
    streams = Streams.of(5, torch.arange(100))
    draws = [
        streams.uniform(like),
        Streams.of(6, torch.arange(100)).uniform(like),
        Streams.of(5, torch.arange(100, 200)).uniform(like),
        streams.derive("start").uniform(like),
        streams.derive("radius").uniform(like),
        streams.derive(0).uniform(like),
        streams.derive(torch.zeros(100, dtype=torch.int64)).uniform(like),
        streams.derive(torch.ones(100, dtype=torch.int64)).uniform(like),
        streams.derive("a").derive("b").uniform(like),
        streams.derive("b").derive("a").uniform(like),
    ]
    table = torch.stack([draw.flatten() for draw in draws])
    off = torch.corrcoef(table) - torch.eye(len(draws), dtype=torch.float64)
    assert off.abs().max() < 0.03
    assert (torch.corrcoef(draws[0]) - torch.eye(100)).abs().max() < 0.4
    assert draws[0].unique().numel() == like.numel()


def test_a_counter_for_each_sample():
    streams, like = Streams.of(0, torch.tensor([4, 4, 4])), torch.empty(3, 5)
    a = streams.derive(torch.tensor([0, 1, 0])).uniform(like)
    assert torch.equal(a[0], a[2])
    assert not torch.equal(a[0], a[1])


def test_the_global_generator_is_neither_read_nor_moved():
    def drawn():
        streams, like = Streams.of(0, torch.arange(4)), torch.empty(4, 3)
        return streams.normal(like) + streams.uniform(like) + streams.below(5, like)

    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first = drawn()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(drawn(), first)


def test_the_numbers_of_a_published_result_stay_what_they_are():
    """Another mixing constant or key would silently change every seeded result."""
    drawn = Streams.of(0, torch.arange(2)).uniform(torch.empty(2, 2, dtype=torch.float64))
    assert drawn.tolist() == [[0.20858722175662436, 0.8583440654854744], [0.5719419557263663, 0.7691597219264055]]
