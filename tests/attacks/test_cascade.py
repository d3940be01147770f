"""Several attacks as one: survivors alone go on, and the worst of each sample is kept."""

import pytest
import torch

from steelman.attacks import Cascade, Worst, averaged, fgsm, pgd
from steelman.errors import InputError
from steelman.norms import L2, Linf
from steelman.threat import Threat

from .conformance import Network, images

BALL = Linf(0.05)
PARTS = (fgsm(BALL), pgd(BALL, steps=10, size=0.015), pgd(BALL, steps=20, size=0.01, restarts=3))


def cascade(**settings):
    return Cascade(name="several", threat=Threat(BALL), attacks=PARTS, **settings)


def subject(n=40):
    model = Network()
    return model, *images(model, n)[:2]


def test_it_breaks_what_any_of_its_attacks_breaks_and_says_which():
    model, x, y = subject()
    result = cascade()(model, x, y, seed=3)
    alive = torch.arange(len(x))
    for at, attack in enumerate(PARTS):
        part = attack(model, x[alive], y[alive], seed=3 + 7919 * at, indices=alive)
        assert torch.equal(result.by[alive[part.broken]], torch.where(part.natural[part.broken], -1, at))
        assert torch.equal(result.x[alive[part.broken]], part.x[part.broken])
        alive = alive[~part.broken]
    assert torch.equal((~result.broken).nonzero().flatten(), alive)
    assert len(set(result.by.tolist())) > 2
    assert (result.by[result.natural] == -1).all()
    assert (result.by[~result.broken] == -1).all()


def test_every_pass_is_counted():
    model, x, y = subject()
    model.forwards = model.backwards = 0
    result = cascade()(model, x, y)
    assert int(result.forwards.sum()) == model.forwards
    assert int(result.backwards.sum()) == model.backwards


@pytest.mark.parametrize("goal", [None, Worst()])
def test_batch_and_order_do_not_matter(goal):
    model, x, y = subject()
    attack = cascade() if goal is None else cascade().with_goal(goal)
    whole = attack(model, x, y, seed=3)
    for ids in torch.randperm(40, generator=torch.Generator().manual_seed(0)).split(13):
        part = attack(model, x[ids], y[ids], seed=3, indices=ids, slots=5)
        assert torch.equal(part.broken, whole.broken[ids])
        assert torch.allclose(part.x, whole.x[ids], atol=1e-9)


def test_with_every_step_taken_the_largest_margin_wins():
    model, x, y = subject()
    each = [attack.with_goal(Worst())(model, x, y, seed=3 + 7919 * at).margin for at, attack in enumerate(PARTS)]
    result = cascade().with_goal(Worst())(model, x, y, seed=3)
    assert torch.allclose(result.margin, torch.stack(each).amax(0))


def test_each_sample_keeps_its_own_radius():
    model, x, y = subject()
    eps = torch.linspace(0, 0.1, 40, dtype=torch.float64)
    result = cascade().at(eps)(model, x, y)
    assert (result.distance <= eps + 1e-9).all()
    for i in (3, 17, 38):
        alone = cascade().at(float(eps[i]))(model, x[i : i + 1], y[i : i + 1], indices=torch.tensor([i]))
        assert bool(alone.broken[0]) == bool(result.broken[i])


def test_progress_ends_at_all_samples():
    model, x, y = subject()
    heard = []
    result = cascade()(model, x, y, progress=heard.append)
    assert [now.total for now in heard] == [40] * len(heard)
    assert [now.done for now in heard] == sorted(now.done for now in heard)
    assert heard[-1].broken == int(result.broken.sum())


def test_it_goes_through_estimators():
    attack = cascade().through(averaged(2))
    assert all(part.gradient == averaged(2) for part in attack.attacks)


@pytest.mark.parametrize(
    ("attacks", "message"), [((), "at least one attack"), ((fgsm(L2(0.1)),), "attacks of Linf alone, got L2")]
)
def test_what_does_not_belong_together_is_an_error(attacks, message):
    with pytest.raises(InputError, match=message):
        Cascade(name="none", threat=Threat(BALL), attacks=attacks)
