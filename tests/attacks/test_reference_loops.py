"""Each rule against a loop written from its paper, iterate by iterate, and what each goal keeps of them."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import Break, Last, Nearest, Worst, at_input, bim, fgsm, pgd
from steelman.errors import InputError
from steelman.norms import L1, L2, Linf
from steelman.threat import Threat

EPS = {Linf: 0.1, L2: 0.4}


class Recorder(nn.Module):
    """A model that keeps what it is shown."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.shown = []

    def forward(self, x):
        self.shown.append(x.detach().clone())
        return self.model(x)


def network(*, batch_norm=False):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 6, 3, padding=1), nn.Softplus(), nn.Flatten(), nn.Linear(6 * 25, 4)]
        model = nn.Sequential(*layers[:1], *([nn.BatchNorm2d(6)] if batch_norm else []), *layers[1:])
    model[-1].weight.data *= 3
    return model.double().eval()


def images(model, n=20):
    x = torch.rand(n, 1, 5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return x, model(x).argmax(1)


def gradient(model, x, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)[0]


def step_linf(model, x, y, clean, eps, size, sign=1):
    """Kurakin et al. 2017, section 2.2; Madry et al. 2018, eq. 2; with sign -1 towards class y."""
    x = x + sign * size * gradient(model, x, y).sign()
    return torch.max(torch.min(x, clean + eps), clean - eps).clamp(0, 1)


def step_l2(model, x, y, clean, eps, size, sign=1):
    """Madry et al. 2018: steepest ascent in L2, then back to the ball and the box."""
    grad = gradient(model, x, y)
    delta = x + sign * size * grad / grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1) - clean
    norm = delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return (clean + delta * torch.where(norm > eps, eps / norm, torch.ones_like(norm))).clamp(0, 1)


STEP = {Linf: step_linf, L2: step_l2}


def iterates(attack, model, x, y, **settings):
    recorder = Recorder(model)
    result = attack.with_goal(Last())(recorder, x, y, **settings)
    return recorder.shown, result


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_is_one_signed_step(targeted):
    model = network()
    x, y = images(model)
    y = (y + 1) % 4 if targeted else y
    seen, result = iterates(fgsm(Linf(0.1), targeted=targeted), model, x, y)
    expected = (x + (-1 if targeted else 1) * 0.1 * gradient(model, x, y).sign()).clamp(0, 1)
    assert len(seen) == 2
    assert torch.equal(seen[0], x)
    assert torch.allclose(result.x, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", [Linf, L2])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ["bim", "pgd from the input", "pgd"])
def test_iterates_are_those_of_the_paper(norm, targeted, name):
    model = network()
    x, y = images(model)
    y = (y + 1) % 4 if targeted else y
    eps, size, steps = EPS[norm], EPS[norm] / 4, 10
    recipes = {
        "bim": lambda: bim(norm(eps), steps=steps, size=size, targeted=targeted),
        "pgd from the input": lambda: pgd(norm(eps), steps=steps, size=size, start=at_input, targeted=targeted),
        "pgd": lambda: pgd(norm(eps), steps=steps, size=size, targeted=targeted),
    }
    seen, result = iterates(recipes[name](), model, x, y)
    if name == "pgd":
        clean, *seen = seen
        assert torch.equal(clean, x)
        assert not (seen[0] == x).flatten(1).all(1).any()
        assert Threat(norm(eps)).holds(seen[0], around=x).all()
    else:
        assert torch.equal(seen[0], x)
    assert len(seen) == steps + 1
    for before, after in pairwise(seen):
        expected = STEP[norm](model, before, y, x, eps, size, sign=-1 if targeted else 1)
        assert torch.allclose(after, expected, rtol=0, atol=1e-12)
    assert torch.equal(result.x, seen[-1])


def test_each_restart_starts_elsewhere():
    model = network()
    x, y = images(model)
    recorder = Recorder(model)
    pgd(Linf(0.1), steps=1, restarts=3).with_goal(Worst())(recorder, x, y)
    starts = recorder.shown[1].view(len(x), 3, -1)  # all attempts at once, as there are slots enough
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not (starts[:, a] == starts[:, b]).all(1).any()


def test_bim_has_the_papers_steps_unless_told():
    """Section 2.2 of the paper: grey levels of 1, and min(eps + 4, 1.25 eps) of them."""
    for levels, steps in [(2, 3), (8, 10), (16, 20), (32, 36)]:
        for eps in (levels / 255, torch.tensor([levels / 255, 0.001])):
            rule = bim(Linf(eps)).rule
            assert (rule.steps, rule.size.size) == (steps, pytest.approx(1 / 255))
    assert bim(Linf(0.3), size=0.1).rule.steps == 3
    assert bim(L2(0.5), steps=5).rule.size.share == 1 / 5
    for norm in (L2, L1):
        with pytest.raises(InputError, match="steps or size"):
            bim(norm(0.5))


def test_pgd_has_the_papers_steps_at_its_eps():
    rule = pgd(Linf(0.3)).rule
    assert rule.steps == 40
    assert rule.size.share * 0.3 == pytest.approx(0.01)


@pytest.mark.parametrize("bad", [{"steps": 0}, {"steps": 2.5}, {"steps": True}, {"size": 0.0}, {"size": float("nan")}])
@pytest.mark.parametrize("recipe", [bim, pgd])
def test_settings_that_make_no_attack_are_errors(recipe, bad):
    with pytest.raises(InputError, match="expected"):
        recipe(Linf(0.1), **bad)


def test_restarts_need_a_start_that_differs():
    with pytest.raises(InputError, match="at_random"):
        pgd(Linf(0.1), start=at_input, restarts=2)
    with pytest.raises(InputError, match="restarts"):
        pgd(Linf(0.1), restarts=0)


def judged(model, seen, y):
    """(T, N): the margin of every iterate."""
    logits = torch.stack([model(x) for x in seen]).detach()
    own = F.one_hot(y, 4).bool()
    return logits.masked_fill(own, -torch.inf).amax(2) - logits[:, own]


@pytest.mark.parametrize("norm", [Linf, L2])
def test_each_goal_keeps_its_own_candidate(norm):
    """Steps are so large that an attack comes back over the boundary now and then."""
    model = network()
    x, y = images(model, 60)
    y[:5] = (y[:5] + 1) % 4
    attack = bim(norm(3 * EPS[norm]), steps=6, size=EPS[norm])
    seen, last = iterates(attack, model, x, y)
    margins = judged(model, seen, y)
    distances = torch.stack([Threat(norm(1.0)).distance(candidate, around=x) for candidate in seen])
    broken, natural = margins > 0, margins[0] > 0
    ever = broken.any(0)
    assert ever.sum() > ever.numel() / 2
    assert natural.sum() == 5
    stack, every = torch.stack(seen), torch.arange(60)

    assert torch.equal(last.x, seen[-1])
    assert torch.equal(last.broken, broken[-1])

    worst = attack.with_goal(Worst())(model, x, y)
    assert torch.allclose(worst.margin, margins.amax(0))
    assert torch.allclose(worst.x, stack[margins.argmax(0), every])

    first = attack.with_goal(Break())(model, x, y)
    chosen = torch.where(ever, broken.int().argmax(0), margins.argmax(0))
    assert torch.allclose(first.x, stack[chosen, every])
    assert torch.equal(first.forwards, torch.where(ever, chosen + 1, 7))

    nearest = attack.with_goal(Nearest())(model, x, y)
    closest = distances.masked_fill(~broken, torch.inf).argmin(0)
    assert torch.allclose(nearest.x, stack[torch.where(ever, closest, margins.argmax(0)), every])
    assert (nearest.distance[ever] <= first.distance[ever] + 1e-12).all()
    assert torch.equal(nearest.forwards, torch.where(nearest.natural, 1, 7))  # what is broken as it came is left alone
    for result in (last, worst, first, nearest):
        assert torch.equal(result.natural, natural)


def test_in_train_mode_batches_are_a_plain_loops():
    """Batch statistics mix a batch, so that a published number in train mode depends on which images share one."""
    model = network(batch_norm=True)
    x, y = images(model, 150)
    attack = pgd(Linf(0.1), steps=4, size=0.03, start=at_input).with_goal(Last())
    result = attack(model, x, y, mode="train", slots=64)
    assert not any(module.training for module in model.modules())
    model.train()
    expected = []
    for clean, label in zip(x.split(64), y.split(64), strict=True):
        adversarial = clean
        for _ in range(4):
            adversarial = step_linf(model, adversarial, label, clean, 0.1, 0.03)
        expected.append(adversarial)
    assert torch.allclose(result.x, torch.cat(expected), rtol=0, atol=1e-12)
    other = attack(model, x, y, mode="train", slots=50)
    assert not torch.allclose(other.x, result.x)
