"""The one loop: full slots, restarts, leaving, progress, and victims that throw dice."""

import pytest
import torch
from torch import nn

from steelman.attacks import Break, Last, Nearest, Worst, at_input, averaged, exact, fgsm, named, pgd
from steelman.attacks.engine.problem import Problem
from steelman.errors import InputError
from steelman.losses import cross_entropy
from steelman.norms import Linf
from steelman.progress import Progress
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Victim


class Sizes(nn.Module):
    """A model that keeps the sizes of its batches."""

    def __init__(self, dropout=0.0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Linear(10, 20), nn.Softplus(), nn.Dropout(dropout), nn.Linear(20, 3), nn.Flatten()
            ).double()
        self.sizes = []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.layers(8 * (x - 0.5))


def images(model, n=50):
    x = torch.rand(n, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, model.eval()(x).argmax(1)


def run(attack, model, x, y, **settings):
    model.sizes.clear()
    return attack(model, x, y, **settings)


def test_slots_are_full_while_anything_waits():
    model = Sizes()
    x, y = images(model)
    result = run(pgd(Linf(0.1), steps=8, start=at_input), model, x, y, slots=8)
    assert result.broken.any()
    assert not result.broken.all()
    full = model.sizes.index(next(size for size in model.sizes if size < 8))
    assert model.sizes[full:] == sorted(model.sizes[full:], reverse=True)
    assert sum(model.sizes) == int(result.forwards.sum())
    held = ~result.broken
    assert (result.forwards[held] == 9).all()
    assert (result.forwards[~held] <= 9).all()
    # everything that broke left room for others: far fewer batches than seven of nine looks each
    assert len(model.sizes) < 7 * 9


def test_batches_are_even_where_every_step_is_taken():
    model = Sizes()
    x, y = images(model)
    result = run(pgd(Linf(0.1), steps=3, start=at_input).with_goal(Worst()), model, x, y, slots=20)
    assert model.sizes == [20] * 4 + [20] * 4 + [10] * 4
    assert (result.forwards == 4).all()
    assert (result.backwards == 3).all()


def test_the_usual_number_of_slots_is_128():
    model = Sizes()
    run(fgsm(Linf(0.1)).with_goal(Last()), model, *images(model, 130))
    assert model.sizes == [128, 128, 2, 2]


def test_what_holds_is_begun_again_and_what_is_broken_is_not():
    model = Sizes()
    x, y = images(model)
    attack = pgd(Linf(0.03), steps=4, restarts=3)
    result = run(attack, model, x, y, slots=7)
    held = ~result.broken
    assert held.any()
    assert result.broken.any()
    assert (result.forwards[held] == 1 + 3 * 5).all()
    assert (result.forwards[~held] < 1 + 3 * 5).all()
    worst = run(attack.with_goal(Worst()), model, x, y, slots=7)
    assert (worst.forwards == 1 + 3 * 5).all()
    assert (worst.margin >= result.margin - 1e-9).all()


def test_leaving_saves_passes_and_costs_no_break():
    model = Sizes()
    x, y = images(model)
    attack = pgd(Linf(0.1), steps=20, start=at_input)
    leaving, staying = attack(model, x, y), attack.with_goal(Worst())(model, x, y)
    assert torch.equal(leaving.broken, staying.broken)
    assert leaving.backwards.sum() < 0.7 * staying.backwards.sum()


@pytest.mark.parametrize("start", ["random", "input"])
@pytest.mark.parametrize("case", ["some break", "all broken before", "none breaks"])
def test_an_observer_hears_of_everything_and_of_the_end(start, case):
    model = Sizes()
    x, y = images(model)
    if case == "all broken before":
        y = (y + 1) % 3
    heard = []
    settings = {"start": at_input} if start == "input" else {"restarts": 2}
    attack = pgd(Linf(1e-9 if case == "none breaks" else 0.1), steps=4, **settings)
    result = attack(model, x, y, slots=6, progress=heard.append)
    assert heard[-1] == Progress(50, 50, broken=int(result.broken.sum()))
    assert all(progress.total == 50 for progress in heard)
    done, broken = [progress.done for progress in heard], [progress.broken for progress in heard]
    assert done == sorted(done)
    assert broken == sorted(broken)
    assert result.broken.all() == (case == "all broken before")


@pytest.mark.parametrize("goal", [Break(), Worst(), Last(), Nearest()])
def test_several_attempts_at_once_are_as_one_by_one(goal):
    """With few slots attempts come one by one, with many all at once; which one is kept must not change."""
    model = Sizes()
    x, y = images(model, 9)
    attack = pgd(Linf(0.05), steps=5, restarts=4).with_goal(goal)
    slow = run(attack, model, x, y, slots=2)
    calls = len(model.sizes)
    fast = run(attack, model, x, y, slots=64)
    assert len(model.sizes) < calls / 3
    assert torch.allclose(fast.x, slow.x, atol=1e-9)
    assert torch.allclose(fast.margin, slow.margin, atol=1e-9)
    assert torch.equal(fast.broken, slow.broken)
    assert sum(model.sizes) == int(fast.forwards.sum())
    if not goal.leaves:
        assert torch.equal(fast.forwards, slow.forwards)


class Noisy(nn.Module):
    """A victim with noise of its own from torch's global generator."""

    def __init__(self):
        super().__init__()
        self.inner = Sizes()
        self.drawn = []

    def forward(self, x):
        noise = 0.1 * torch.randn_like(x)
        self.drawn.append(noise)
        return self.inner(x + noise)


@pytest.mark.parametrize("kind", ["noise", "dropout"])
@pytest.mark.parametrize("gradient", [exact, averaged(4)], ids=repr)
def test_a_random_victim_is_the_same_for_the_same_seed(kind, gradient):
    x, y = images(Sizes())
    model = Noisy() if kind == "noise" else Sizes(dropout=0.5).train()
    attack = pgd(Linf(0.1), steps=3).with_goal(Last()).through(gradient)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = attack(model, x, y, seed=5, mode="as it is")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    same = attack(model, x, y, seed=5, mode="as it is")
    assert torch.equal(one.x, same.x)
    assert torch.equal(one.margin, same.margin)
    other = attack(model, x, y, seed=6, mode="as it is")
    assert not torch.equal(one.margin, other.margin)


def test_a_random_victim_draws_afresh_at_every_look():
    x, y = images(Sizes(), 4)
    model = Noisy()
    pgd(Linf(0.1), steps=3)(model, x, y)
    assert all(not torch.equal(a, b) for i, a in enumerate(model.drawn) for b in model.drawn[:i] if a.shape == b.shape)


def test_averaging_is_the_mean_of_its_draws():
    x, y = images(Sizes(), 4)
    model = Noisy()
    with Victim(model, seed=3) as victim:
        problem = Problem(x, y, Threat(Linf(0.1)), Streams.of(0, y), x, x.new_zeros(4, 0), y * 0, False)
        answer = averaged(5).answer(victim, problem, x, y * 0, lambda logits: cross_entropy(logits, y))
        looked = averaged(5).look(victim, x, y)
    assert (victim.forwards, victim.backwards) == (40, 20)
    parts = []
    for noise in model.drawn[:5]:
        wanted = x.clone().requires_grad_()
        logits = model.inner(wanted + noise)
        loss = cross_entropy(logits, y)
        parts.append((logits.detach(), loss.detach(), torch.autograd.grad(loss.sum(), wanted)[0]))
    for got, expected in zip(answer, zip(*parts, strict=True), strict=True):
        assert torch.allclose(got, torch.stack(expected).mean(0))
    expected = torch.stack([model.inner(x + noise) for noise in model.drawn[5:]]).mean(0)
    assert torch.allclose(looked, expected)


def test_averaging_counts_every_draw():
    model = Sizes()
    x, y = images(model)
    result = run(pgd(Linf(0.1), steps=2).with_goal(Last()).through(averaged(3)), model, x, y, slots=20)
    assert (result.forwards == 3 * (1 + 3)).all()
    assert (result.backwards == 3 * 2).all()
    assert sum(model.sizes) == int(result.forwards.sum())
    with pytest.raises(InputError, match="at least one draw"):
        averaged(0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_is_that_of_the_images_and_changes_no_result():
    model = Sizes()
    x, y = images(model)
    attack = pgd(Linf(torch.linspace(0, 0.1, 50)), steps=5, restarts=2)
    expected = attack(model, x, y, slots=7)
    result = attack(model.cuda(), x.cuda(), y.cuda(), slots=7)
    assert result.x.is_cuda
    assert torch.allclose(result.x.cpu(), expected.x, atol=1e-9)
    assert torch.equal(result.broken.cpu(), expected.broken)


def test_names_lead_to_recipes_and_errors_to_names():
    assert named("pgd").recipe is pgd
    with pytest.raises(InputError, match="expected the name of an attack, got 'pdg': did you mean pgd"):
        named("pdg")


def test_one_eps_as_a_tensor_serves_more_samples_than_slots():
    model = Sizes()
    x, y = images(model, 9)
    attack = pgd(Linf(torch.tensor(0.05)), steps=3)
    assert torch.equal(run(attack, model, x, y, slots=2).x, run(attack, model, x, y, slots=9).x)


@pytest.mark.parametrize(
    "attack", [fgsm(Linf(0.05)), pgd(Linf(0.05), steps=5), pgd(Linf(0.05), steps=5).with_goal(Worst())]
)
def test_what_half_precision_finds_is_judged_in_full(attack):
    model = Sizes().float()
    x, y = images(Sizes(), 60)
    x = x.float()
    found = attack(model, x, y, precision="bf16")
    with torch.no_grad():
        margins = model(found.x).scatter(1, y[:, None], -torch.inf).amax(1) - model(found.x).gather(1, y[:, None])[:, 0]
    assert torch.allclose(found.margin, margins, atol=1e-5)
    assert torch.equal(found.broken, margins > 0)
    full = attack(model, x, y)
    assert abs(found.accuracy - full.accuracy) <= 2 / 60
    with pytest.raises(InputError, match="expected precision"):
        attack(model, x, y, precision="fp8")
