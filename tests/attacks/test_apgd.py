"""Auto-PGD against loops written from its papers with AutoAttack's numbers, and against AutoAttack itself."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import Worst, apgd, apgd_dlr, apgd_t
from steelman.errors import InputError
from steelman.losses import dlr, dlr_reaching, dlr_targeted, margin
from steelman.norms import L1, L2, Linf, l1_in_box
from steelman.threat import Threat

from .test_peers import eps_that_breaks_half, peer, subject  # noqa: F401
from .test_reference_loops import Recorder, images, network

EPS = {Linf: 0.1, L2: 0.5, L1: 2.0}
TIE = 1e-12


def climb(model, x, y, loss):
    x = x[None].clone().requires_grad_()
    value = loss(model(x), y[None]).sum()
    return float(value.detach()), torch.autograd.grad(value, x)[0][0]


def clipped(x, clean, eps, norm):
    """Linf and L2: first the ball, then the box."""
    delta = x - clean
    delta = delta.clamp(-eps, eps) if norm is Linf else delta * min(1.0, eps / float(delta.norm()))
    return (clean + delta).clamp(0, 1)


def auto_pgd(model, clean, y, start, norm, eps, steps, loss):
    """Croce & Hein 2020, algorithm 1, on one image with AutoAttack's numbers.

    Returns the iterates up to where two values differ by rounding alone, which decides what comes next, and halvings.
    """
    direction = {Linf: torch.sign, L2: lambda grad: grad / grad.norm()}[norm]
    shortest, less, window = max(int(0.06 * steps), 1), max(int(0.03 * steps), 1), max(int(0.22 * steps), 1)
    seen, x, previous, size, halvings = [start], start, start, 2 * eps, 0
    value, grad = climb(model, x, y, loss)
    best, best_value, best_grad = x, value, grad
    checkpoint, rises, halved, checked = window, 0, True, value
    for k in range(1, steps + 1):
        up = clipped(x + size * direction(grad), clean, eps, norm)
        inertia = 0.75 if k > 1 else 1.0
        x, previous = clipped(x + inertia * (up - x) + (1 - inertia) * (x - previous), clean, eps, norm), x
        seen.append(x)
        before = value
        value, grad = climb(model, x, y, loss)
        if any(0 < abs(value - other) < TIE for other in (before, best_value)):
            break
        rises += value > before
        if value > best_value:
            best, best_value, best_grad = x, value, grad
        if k == checkpoint:
            halved = rises <= 0.75 * window or (not halved and checked >= best_value)
            checked, rises = best_value, 0
            if halved:
                size, x, grad, halvings = size / 2, best, best_grad, halvings + 1
            window = max(window - less, shortest)
            checkpoint += window
    return seen, halvings


def nearest(delta, eps, low, high):
    """One sample of l1_in_box by bisection: soft thresholding, capped by the box."""
    below, above = 0.0, float(delta.abs().max())
    for cut in [0.0] + [math.nan] * 60:
        cut = (below + above) / 2 if math.isnan(cut) else cut
        kept = (delta.sign() * (delta.abs() - cut).clamp(min=0)).clamp(low, high)
        if float(kept.abs().sum()) > eps:
            below = cut
        else:
            above = cut
            if cut == 0:
                break
    return kept if cut == 0 else (delta.sign() * (delta.abs() - above).clamp(min=0)).clamp(low, high)


def auto_pgd_l1(model, clean, y, start, eps, stages, loss):
    """Croce & Hein 2021, algorithm 1, on one image with AutoAttack's numbers; iterates and resets as above."""
    seen, resets, entries, x = [], 0, clean.numel(), start
    for radius, steps in stages:
        radius *= eps
        x = clean + nearest(x - clean, radius, -clean, 1 - clean)
        seen.append(x)
        changed = int((x != clean).sum()) if len(stages) > 1 else entries
        share = changed / entries / 1.5 if len(stages) > 1 else 0.2
        size, every = radius, max(int(0.04 * steps), 1)
        best_value, grad = climb(model, x, y, loss)
        best, best_grad = x, grad
        for k in range(1, steps + 1):
            least = grad.abs().flatten().sort().values[min(max(int((1 - share) * entries), 0), entries - 1)]
            sparse = grad.sign() * (grad.abs() >= least)
            moved = x + size * sparse / sparse.abs().sum()
            x = clean + nearest(moved - clean, radius, -clean, 1 - clean)
            seen.append(x)
            value, grad = climb(model, x, y, loss)
            if 0 < abs(value - best_value) < TIE:
                return seen, resets
            if value > best_value:
                best, best_value, best_grad = x, value, grad
            if k % every == 0:
                now = int((best != clean).sum())
                share = now / entries / 1.5
                if now / changed < 0.95:
                    size, x, grad, resets = radius, best, best_grad, resets + 1
                else:
                    size = max(size / 1.5, radius / 10)
                changed = now
        x = best
    return seen, resets


def run(attack, model, x, y):
    """The clean images, the iterates, and what was found; nobody leaves."""
    recorder = Recorder(model)
    result = attack.with_goal(Worst())(recorder, x, y)
    clean, *seen = recorder.shown
    assert torch.equal(clean, x)
    return torch.stack(seen), result


@pytest.mark.parametrize("norm", [Linf, L2])
@pytest.mark.parametrize("steps", [1, 40, 100])
@pytest.mark.parametrize("aim", ["ce", "dlr", "targeted"])
def test_iterates_are_those_of_the_algorithm(norm, steps, aim):
    model = network()
    x, y = images(model, 6)
    y = (y + 1) % 4 if aim == "targeted" else y
    attack = {
        "ce": lambda: apgd(norm(EPS[norm]), steps=steps),
        "dlr": lambda: apgd_dlr(norm(EPS[norm]), steps=steps),
        "targeted": lambda: apgd(norm(EPS[norm]), steps=steps, targeted=True),
    }[aim]()
    sign = -1 if aim == "targeted" else 1
    seen, result = run(attack, model, x, y)
    assert len(seen) == steps + 1
    assert result.forwards.tolist() == [steps + 2] * 6
    halvings = compared = 0
    for i in range(6):
        expected, halved = auto_pgd(
            model,
            x[i],
            y[i],
            seen[0, i],
            norm,
            EPS[norm],
            steps,
            lambda logits, y: dlr(logits, y) if aim == "dlr" else sign * F.cross_entropy(logits, y),
        )
        assert torch.allclose(seen[: len(expected), i], torch.stack(expected), rtol=0, atol=1e-9)
        halvings, compared = halvings + halved, compared + len(expected)
    assert halvings > 6 or steps == 1
    assert compared > 6 * min(steps, 30)


@pytest.mark.parametrize("norm", [Linf, L2])
def test_it_starts_on_the_sphere(norm):
    model = network()
    x = torch.full((50, 1, 5, 5), 0.5, dtype=torch.float64)
    seen, _ = run(apgd(norm(0.3), steps=1), model, x, torch.zeros(50, dtype=torch.int64))
    assert torch.allclose(norm().size(seen[0] - x), torch.tensor(0.3, dtype=torch.float64))
    assert float((seen[0] - x).mean().abs()) < 0.02


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("steps", [5, 30, 100])
def test_l1_iterates_are_those_of_the_algorithm(shrink, steps):
    model = network()
    x, y = images(model, 3)
    part = math.ceil(0.3 * steps)
    stages = [(3, part), (2, part), (1, steps - 2 * part)] if shrink else [(1, steps)]
    seen, result = run(apgd(L1(EPS[L1]), steps=steps, shrink=shrink), model, x, y)
    assert len(seen) == steps + len(stages)
    assert (result.distance <= EPS[L1] * (1 + 1e-9)).all()
    resets = compared = 0
    for i in range(3):
        expected, reset = auto_pgd_l1(
            model, x[i], y[i], seen[0, i], EPS[L1], stages, lambda logits, y: F.cross_entropy(logits, y)
        )
        assert torch.allclose(seen[: len(expected), i], torch.stack(expected), rtol=0, atol=1e-9)
        resets, compared = resets + reset, compared + len(expected)
    assert resets > 0
    assert compared > 3 * min(steps, 30)


def test_what_breaks_outside_the_ball_does_not_count():
    """While it shrinks the attack is outside its ball for 60 % of its steps."""
    model = network()
    x, y = images(model, 20)
    seen, result = run(apgd(L1(0.6), steps=20, shrink=True), model, x, y)
    early = torch.stack([margin(model(step), y) for step in seen[:12]]).amax(0).detach() > 0
    assert (early & ~result.broken).any()
    assert Threat(L1(0.6)).holds(result.x, around=x).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["random", "wide box", "at the corners", "sparse", "equal", "inside"])
def test_l1_in_box_is_the_nearest_point(dtype, kind):
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(40, 3, 7, generator=generator, dtype=torch.float64)
    delta = 3 * torch.randn(40, 3, 7, generator=generator, dtype=torch.float64)
    eps = 6 * torch.rand(40, generator=generator, dtype=torch.float64)
    low, high = -clean, 1 - clean
    if kind == "wide box":
        low, high = torch.full_like(clean, -torch.inf), torch.full_like(clean, torch.inf)
    elif kind == "at the corners":
        delta = torch.where(delta > 0, high, low)
    elif kind == "sparse":
        delta = delta * (delta > 3)
        delta[0] = 0
    elif kind == "equal":
        delta, low, high = delta.sign(), low * 0 - 0.5, high * 0 + 0.5
    elif kind == "inside":
        eps += 1000
    delta, low, high, eps = (part.to(dtype) for part in (delta, low, high, eps))
    found = l1_in_box(delta, eps, low, high)
    slack = 1e-12 if dtype == torch.float64 else 1e-5
    assert (found.abs().flatten(1).sum(1) <= eps * (1 + 4e-7 if dtype == torch.float32 else 1 + 1e-15)).all()
    assert (found >= low).all()
    assert (found <= high).all()
    expected = torch.stack([nearest(*parts) for parts in zip(delta, eps.tolist(), low, high, strict=True)])
    assert torch.allclose(found, expected, rtol=0, atol=slack)
    assert torch.allclose(l1_in_box(found, eps, low, high), found, rtol=0, atol=slack)
    for i in (0, 17):
        alone = l1_in_box(*(part[i : i + 1] for part in (delta, eps, low, high)))
        assert torch.allclose(alone[0], found[i], rtol=0, atol=slack)
    assert not l1_in_box(delta, eps * 0, low, high).any()


def test_dlr_losses_do_not_change_with_scale_and_say_who_is_in_front():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    y, target = torch.randint(5, (2, 200), generator=generator)
    rows = torch.arange(200)
    for value, front in (
        (dlr_targeted(logits, y, target), logits[rows, target] - logits[rows, y]),
        (dlr_reaching(logits, y), margin(logits, y)),
    ):
        order = logits.sort(1, descending=True).values
        assert torch.allclose(value, front / (order[:, 0] - order[:, 2:4].mean(1)))
    assert torch.allclose(dlr_targeted(1000 * logits + 7, y, target), dlr_targeted(logits, y, target))
    with pytest.raises(InputError, match="at least 4 classes for targeted DLR, got 3"):
        dlr_targeted(logits[:, :3], y.clamp(max=2), target.clamp(max=2))
    assert dlr_targeted(torch.zeros(1, 4), y[:1] * 0, y[:1] * 0 + 1) == 0


def test_apgd_t_is_after_one_class_after_another():
    """The first step of an attempt follows the gradient of the class that it is after."""
    model = network()
    x, y = images(model, 5)
    recorder = Recorder(model)
    result = apgd_t(Linf(0.01), steps=3)(recorder, x, y)
    assert not result.broken.any()
    assert result.forwards.tolist() == [1 + 3 * 4] * 5
    ranked = model(x).argsort(1, descending=True)
    seen = torch.stack(recorder.shown[1:]).unflatten(1, (5, 3))  # all attempts at once: there are slots enough
    for attempt in range(3):
        before, after = seen[:2, :, attempt]
        point = before.clone().requires_grad_()
        value = dlr_targeted(model(point), y, ranked[:, 1 + attempt])
        grad = torch.autograd.grad(value.sum(), point)[0]
        assert torch.allclose(after, (before + 0.02 * grad.sign()).clamp(x - 0.01, x + 0.01).clamp(0, 1))


def test_steps_of_a_sample_do_not_depend_on_its_neighbours_steps():
    """Slots refill, so that neighbours are at other steps and other checkpoints."""
    model = network()
    x, y = images(model, 12)
    for attack in (apgd(Linf(0.05), steps=40), apgd(L1(0.5), steps=20, shrink=True), apgd_t(L2(0.2), steps=15)):
        whole = attack(model, x, y)
        assert 0 < int(whole.broken.sum()) < 12
        crowded = attack(model, x, y, slots=5)
        assert torch.allclose(whole.x, crowded.x)
        assert torch.equal(whole.broken, crowded.broken)
        assert torch.equal(whole.forwards[~whole.broken], crowded.forwards[~whole.broken])


@pytest.mark.parametrize("norm", [Linf, L2, L1])
@pytest.mark.parametrize("recipe", [apgd, apgd_dlr, apgd_t])
def test_a_model_without_a_way_up_is_no_trouble(norm, recipe):
    class Flat(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :1] * 0 + torch.tensor([3.0, 2, 1, 0])

    x = torch.rand(3, 2, 3)
    result = recipe(norm(0.1), steps=10)(Flat(), x, torch.zeros(3, dtype=torch.int64))
    assert not result.broken.any()
    assert torch.isfinite(result.x).all()


def smallest(norm, model, x, y):
    weight = (model.weight[0] - model.weight[1]).detach()
    return -margin(model(x), y).detach() / weight.norm(p={Linf: 1, L2: 2, L1: torch.inf}[norm])


@pytest.mark.parametrize(("norm", "shrink"), [(Linf, False), (L2, False), (L1, False), (L1, True)])
def test_with_room_it_needs_what_the_dual_norm_says(norm, shrink):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(12, 2).double()
    x = torch.rand(30, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = model(x).argmax(1)
    least = smallest(norm, model, x, y)

    def wide(ball):
        return Threat(ball, low=-1e3, high=1e3)

    room = 1.05 if shrink or norm is not L1 else 1.3  # sparse steps in one ball do not come all the way to a corner
    assert apgd(wide(norm(room * least)), shrink=shrink)(model, x, y).broken.all()
    assert apgd(wide(norm(room * least)), shrink=shrink, targeted=True)(model, x, 1 - y).broken.all()
    assert not apgd(wide(norm(0.999 * least)), shrink=shrink)(model, x, y).broken.any()


@pytest.mark.parametrize("bad", [{"steps": 0}, {"rho": 1.5}, {"rho": "a"}, {"restarts": 0}, {"shrink": True}])
@pytest.mark.parametrize("recipe", [apgd, apgd_dlr, apgd_t])
def test_settings_that_make_no_attack_are_errors(recipe, bad):
    with pytest.raises(InputError, match="expected"):
        recipe(Linf(0.1), **bad)
    with pytest.raises(InputError, match=">= 5, got 4"):
        recipe(L1(0.1), steps=4, shrink=True)


def test_too_few_classes_are_an_error():
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 3).double())
    x, _ = images(network(), 3)
    y = model(x).argmax(1)
    with pytest.raises(InputError, match="at least 4 classes"):
        apgd_t(Linf(0.1))(model, x, y)
    with pytest.raises(InputError, match="at least 4 classes"):
        apgd_dlr(Linf(0.1), targeted=True)(model, x, (y + 1) % 3)
    with pytest.raises(InputError, match="expected 1 to 3 targets of 4 classes, got 9"):
        apgd_t(Linf(0.1), targets=9)(network(), x, y)


PEER_STEPS = 25


def of_autoattack(library, model, name, norm, eps, shrink):
    settings = {"norm": norm.name, "eps": eps, "n_iter": PEER_STEPS, "device": "cpu", "use_largereps": shrink}
    if name == "apgd-t":
        return library.APGDAttack_targeted(model, n_target_classes=2, **settings)
    return library.APGDAttack(model, loss={"apgd": "ce", "apgd-dlr": "dlr"}[name], **settings)


@pytest.mark.parametrize(
    ("norm", "shrink"), [(Linf, False), (L2, False), (L1, False), (L1, True)], ids=["Linf", "L2", "L1", "L1 shrinking"]
)
@pytest.mark.parametrize("recipe", [apgd, apgd_dlr, apgd_t])
@pytest.mark.filterwarnings("ignore:.*zero gradient")
def test_autoattack_breaks_no_more(subject, norm, shrink, recipe):  # noqa: F811
    """Starts differ, so that a sample at the edge may fall to one of them and not to the other."""
    library = peer("pyautoattack.autopgd_base")
    model, x, y = subject[0], subject[1][:60], subject[2][:60]
    aims = {"targets": 2} if recipe is apgd_t else {}
    eps = eps_that_breaks_half(model, x, y, lambda eps: apgd(norm(eps), steps=10))
    attack = recipe(norm(eps), steps=PEER_STEPS, shrink=shrink, **aims)
    ours = attack(model, x, y).broken
    with torch.random.fork_rng():
        theirs = model(of_autoattack(library, model, attack.name, norm, eps, shrink).perturb(x, y)).argmax(1) != y
    assert 0.3 < float(theirs.double().mean()) < 0.9
    assert int(ours.sum()) >= int(theirs.sum()) - 2
    assert int((ours != theirs).sum()) <= 6
