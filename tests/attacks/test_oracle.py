"""What stands between a search and the victim: rows that repeat, budgets, the grid, and what is kept."""

import pytest
import torch

from steelman.attacks import Break, Nearest, exact, pgd
from steelman.attacks.engine.oracle import BudgetError, Oracle
from steelman.attacks.engine.problem import Problem
from steelman.attacks.engine.slots import bounded, timed
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L1, L2, Linf
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Victim

from .conformance import Network, images


def oracle(victim, model, *, ball, goal, n=6, **settings):
    x, y, _ = images(model, n)
    empty, zero = x.new_zeros(n, 0), torch.zeros_like(y)
    problem = Problem(x, y, Threat(ball), Streams.of(0, torch.arange(n)), x, empty, zero, False)
    return Oracle(victim, problem, goal=goal, estimator=exact, slots=4, **settings)


def candidates(x, rows, spread=0.3):
    noise = torch.rand(len(rows), *x.shape[1:], generator=torch.Generator().manual_seed(4), dtype=x.dtype)
    return (x[rows] + spread * (2 * noise - 1)).clamp(0, 1)


@pytest.mark.parametrize("goal", [Break(), Nearest()])
def test_the_best_of_many_candidates_of_a_sample_is_kept(goal):
    model = Network()
    rows = torch.tensor([0, 1, 1, 5, 1, 0, 5, 5, 2, 1, 0, 0])
    with Victim(model) as victim:
        seen = oracle(victim, model, ball=L2(9.0), goal=goal)
        x, y = seen.problem.x, seen.problem.y
        shown = candidates(x, rows)
        logits = seen.look(rows, shown)
    assert torch.allclose(logits, model.eval()(shown))
    margins, distances = margin(logits.detach(), y[rows]), (shown - x[rows]).flatten(1).norm(dim=1)
    for i in range(6):
        own = (rows == i).nonzero().flatten()
        assert int(seen.tally.forwards[i]) == len(own)
        if not len(own):
            assert torch.equal(seen.tally.x[i], x[i])
            continue
        broken = margins[own] > 0
        best = own[margins[own].argmax()]
        if isinstance(goal, Nearest) and broken.any():
            best = own[distances[own].masked_fill(~broken, torch.inf).argmin()]
        assert torch.equal(seen.tally.x[i], shown[best])
        assert torch.isclose(seen.tally.margin[i], margins[best])
        assert torch.isclose(seen.tally.distance[i], distances[best])


def test_nothing_outside_the_threat_is_kept():
    model = Network()
    rows = torch.arange(6)
    with Victim(model) as victim:
        seen = oracle(victim, model, ball=Linf(0.05), goal=Break())
        seen.look(rows, candidates(seen.problem.x, rows))
    assert torch.equal(seen.tally.x, seen.problem.x)
    assert (seen.tally.margin == -torch.inf).all()


def test_a_budget_is_never_exceeded():
    model = Network()
    rows = torch.tensor([0, 0, 1])
    with Victim(model) as victim:
        seen = oracle(victim, model, ball=L2(9.0), goal=Break(), queries=3)
        x = seen.problem.x
        seen.breaks(rows, x[rows])
        assert seen.left(torch.tensor([0, 1, 2])).tolist() == [1, 2, 3]
        with pytest.raises(BudgetError):
            seen.look(rows, x[rows])


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5), L1(1.5, share=0.2)], ids=lambda ball: ball.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_the_grid_every_image_survives_being_saved(ball, dtype):
    model = Network(dtype=dtype)
    x, y, _ = images(model, 30, dtype=dtype)
    x = (x * 255).round() / 255
    y = model.eval()(x).argmax(1)
    free = pgd(ball, steps=20)(model, x, y)
    result = pgd(Threat(ball, levels=256), steps=20)(model, x, y)
    saved = (result.x * 255).round().to(torch.uint8)
    assert torch.equal(saved.to(dtype) / 255, result.x)
    assert Threat(ball).holds(result.x, around=x).all()
    loaded = margin(model(saved.to(dtype) / 255).detach(), y) > 0
    assert torch.equal(loaded, result.broken)
    assert 0 < int(result.broken.sum()) <= int(free.broken.sum()) + 1


def test_images_off_the_grid_are_an_error():
    model = Network()
    x, y, _ = images(model)
    with pytest.raises(InputError, match="on a grid of 256 levels"):
        pgd(Threat(Linf(0.1), levels=256), steps=3)(model, x, y)


def test_a_target_that_is_the_label_is_an_error():
    model = Network()
    x, y, _ = images(model)
    attack = pgd(Linf(0.1), steps=3, targeted=True)
    attack(model, x, (y + 1) % 4, truth=y)
    with pytest.raises(InputError, match=r"got 1 of 8 that are the same, the first at image 2"):
        wanted = (y + 1) % 4
        wanted[2] = y[2]
        attack(model, x, wanted, truth=y)


def test_large_images_get_as_many_slots_as_memory_holds():
    shape = (1, 64, 64)
    model = Network(shape, dtype=torch.float32)
    x, y, _ = images(model, 4, shape, torch.float32)
    one = bounded(1000, Victim(model), x, y, 2**14)
    two = bounded(1000, Victim(model), x, y, 2**15)
    assert 1 < one < 1000
    assert abs(two - 2 * one) <= 1
    assert bounded(1000, Victim(model), x, y, 1) == 1
    assert bounded(1000, Victim(model), x[:, :, :8, :8], y, 1) == 1000
    assert timed(Victim(model), x, y, 64) in (32, 64)
    pgd(Linf(0.1), steps=2)(model, x, y, memory=2**14)
    pgd(Linf(0.1), steps=2)(model, x, y, slots="timed")
