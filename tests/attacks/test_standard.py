"""The two cascades: AutoAttack at its published numbers, and ours, which breaks no less for less."""

import pytest
import torch

from steelman.attacks import Cascade, at_blocks, autoattack, averaged, fgsm, standard
from steelman.attacks.engine.problem import Problem
from steelman.attacks.engine.schedules import at_random
from steelman.errors import InputError
from steelman.norms import L0, L1, L2, Linf
from steelman.streams import Streams
from steelman.threat import Threat

from .conformance import Network, images


def subject(n=60, **settings):
    model = Network((1, 6, 6), dtype=torch.float32, **settings)
    return model, *images(model, n, (1, 6, 6), torch.float32)[:2]


@pytest.mark.parametrize(
    ("ball", "parts"),
    [
        (Linf(0.1), [("apgd", 100, 1), ("apgd-t", 100, 1), ("fab-t", 100, 1), ("square", 4998, 1)]),
        (L2(0.5), [("apgd", 100, 1), ("apgd-t", 100, 1), ("fab-t", 100, 1), ("square", 4998, 1)]),
        (L1(2.0), [("apgd", 102, 5), ("apgd-t", 102, 1), ("fab-t", 100, 1), ("square", 4998, 1)]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_autoattack_is_as_published(ball, parts):
    attack = autoattack(ball)
    assert [(part.name, part.rule.steps, part.restarts) for part in attack.attacks] == parts
    assert all(part.goal.leaves for part in attack.attacks)
    assert not attack.attacks[3].rule.sides.queries  # AutoAttack's schedule is not stretched
    assert attack.attacks[1].loss.targets(10) == (5 if ball.name == "L1" else 9)
    assert repr(ball) in repr(attack)


def test_its_other_versions_are_as_published():
    plus, rand = autoattack(Linf(0.1), version="plus"), autoattack(Linf(0.1), version="rand")
    assert [part.name for part in plus.attacks] == ["apgd", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
    assert [part.restarts for part in plus.attacks[:2]] == [5, 5]
    assert [part.name for part in rand.attacks] == ["apgd", "apgd-dlr"]
    assert all(part.gradient == averaged(20) for part in rand.attacks)


@pytest.mark.parametrize(
    "ball",
    [Linf(0.06), pytest.param(L2(0.3), marks=pytest.mark.slow), pytest.param(L1(1.0), marks=pytest.mark.slow)],
    ids=lambda ball: ball.name,
)
def test_standard_breaks_no_less_than_autoattack_for_less(ball):
    model, x, y = subject(scale=2.0)
    full, ours = autoattack(ball)(model, x, y), standard(ball, queries=1000)(model, x, y)
    assert 0.1 < float(full.broken.double().mean()) < 0.9
    assert int(ours.broken.sum()) >= int(full.broken.sum())
    assert Threat(ball).holds(ours.x, around=x).all()
    passes = int((full.forwards + full.backwards).sum())
    assert int((ours.forwards + ours.backwards).sum()) < 0.2 * passes


def test_what_is_far_from_breaking_costs_little_and_what_is_near_much():
    model, x, y = subject(scale=2.0)
    result = standard(Linf(0.06), queries=1000)(model, x, y)
    held = result.forwards[~result.broken]
    cheap = 2 + 2 * 21 + 4 * 41 + 5
    assert int(held.min()) <= cheap
    assert int(held.max()) > 1000
    assert set(result.by.tolist()) >= {-1, 0}


def test_shares_of_the_margin_choose_who_goes_on():
    model, x, y = subject(scale=2.0)
    ball = Linf(0.02)
    parts = (fgsm(ball), fgsm(ball))
    result = Cascade(name="two", threat=Threat(ball), attacks=parts, near=(1.0, 0.5))(model, x, y)
    logits = model.eval()(x).detach()
    gap = logits.gather(1, y[:, None])[:, 0] - logits.scatter(1, y[:, None], -torch.inf).amax(1)
    first = fgsm(ball)(model, x, y)
    went = ~first.broken & (-first.margin <= 0.5 * gap)
    assert went.any()
    assert (~went & ~first.broken).any()
    assert torch.equal(result.backwards - first.backwards > 0, went)
    with pytest.raises(InputError, match="near for each of 2 attacks, got 1"):
        Cascade(name="two", threat=Threat(ball), attacks=parts, near=(1.0,))


def test_nothing_left_to_attack_is_no_error():
    model, x, y = subject()
    assert standard(Linf(0.9))(model, x, y).broken.all()
    assert autoattack(Linf(0.9))(model, x, y).broken.all()


def start(shape, attempt, ball=None):
    n = 50
    x, index = torch.full((n, *shape), 0.5), torch.arange(n)
    zero = torch.zeros_like(index)
    threat = Threat(ball or Linf(0.1))
    problem = Problem(x, zero, threat, Streams.of(0, index), x, x.new_zeros(n, 0), zero + attempt, False)
    return at_blocks(problem) - x, problem


@pytest.mark.parametrize(("attempt", "side"), [(0, 7), (1, 4), (4, 14), (5, 7)])
def test_starts_are_blocks_at_the_end_of_the_ball(attempt, side):
    delta, _ = start((1, 28, 28), attempt)
    assert torch.allclose(delta.abs(), torch.full_like(delta, 0.1))
    blocks = delta.unfold(2, side, side).unfold(3, side, side).flatten(4)
    assert (blocks == blocks[..., :1]).all()
    assert 0.4 < float((delta > 0).float().mean()) < 0.6
    assert len(delta.flatten(1).unique(dim=0)) > 8


def test_starts_have_their_norm_and_are_random_where_there_are_no_blocks():
    delta, _ = start((3, 9, 10), 2, L2(0.7))
    assert torch.allclose(delta.flatten(1).norm(dim=1), torch.full((50,), 0.7))
    for shape, ball in (((12,), Linf(0.1)), ((1, 8, 8), L1(0.5))):
        delta, problem = start(shape, 0, ball)
        assert torch.equal(delta, at_random(problem) - problem.x)


@pytest.mark.parametrize("recipe", [autoattack, standard])
def test_bad_input(recipe):
    with pytest.raises(InputError, match="expected Linf or L2 or L1"):
        recipe(L0(3))
    with pytest.raises(InputError, match="expected a radius"):
        recipe(Linf())
    with pytest.raises(InputError, match="expected version"):
        autoattack(Linf(0.1), version="best")
    with pytest.raises(InputError, match="standard or rand for L1"):
        autoattack(L1(0.1), version="plus")
