"""Carlini & Wagner's attacks: against loops written from the paper, closed forms and peers."""

import pytest
import torch

from steelman.attacks import cw
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L0, L1, L2, Linf
from steelman.threat import Threat

from .test_closed_forms import linear, smallest
from .test_peers import peer, subject  # noqa: F401
from .test_reference_loops import Recorder, images, network


def paper_l2(model, x, y, *, searches, steps, c, sign):
    """Section V-A from the clean image, and the iterates; tanh reaches half a box further, which stops it."""
    edge = torch.atanh(torch.tensor(0.5, dtype=x.dtype))
    c, low, high = (torch.full((len(x),), value, dtype=torch.float64) for value in (c, 0.0, 1e10))
    seen = []
    for _ in range(searches):
        w = torch.atanh(x - 0.5).requires_grad_()
        adam = torch.optim.Adam([w], lr=0.01)
        broken = torch.zeros(len(x)).bool()
        for _ in range(steps):
            image = 0.5 + torch.tanh(w)
            loss = (image - x).flatten(1).square().sum(1) + c * (-sign * margin(model(image), y)).clamp_min(0)
            adam.zero_grad()
            loss.sum().backward()
            adam.step()
            with torch.no_grad():
                w.clamp_(-edge, edge)
                seen.append(0.5 + torch.tanh(w))
                broken |= sign * margin(model(seen[-1]), y) > 0
        high = torch.where(broken, torch.minimum(high, c), high)
        low = torch.where(broken, low, torch.maximum(low, c))
        c = torch.where(high < 1e9, (low + high) / 2, 10 * c)
    return seen


@pytest.mark.parametrize("targeted", [False, True])
def test_l2_iterates_are_those_of_the_paper(targeted):
    model = network()
    x, y = images(model, 8)
    y = (y + 1) % 4 if targeted else y
    recorder = Recorder(model)
    attack = cw(L2(), searches=5, steps=12, first=1e-2, checks=0, warm=False, targeted=targeted)
    result = attack(recorder, x, y)
    clean, *seen = recorder.shown
    sign = -1 if targeted else 1
    expected = paper_l2(model, x, y, searches=5, steps=12, c=1e-2, sign=sign)
    assert torch.equal(clean, x)
    assert len(seen) == len(expected) == 60
    for ours, theirs in zip(seen, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-7)
    stack = torch.stack(expected)
    far = (stack - x).flatten(2).norm(dim=2)
    holds = torch.stack([sign * margin(model(image), y) <= 0 for image in expected])
    best = far.masked_fill(holds, torch.inf).amin(0)
    assert torch.isfinite(best).any()
    assert torch.allclose(result.needed, best, atol=1e-6)


def problem(classes=2):
    """A linear model, and images in the middle of the box whose nearest plane is near them."""
    model = linear(classes)
    x = 0.4 + 0.2 * torch.rand(24, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("classes", [2, 6])
def test_l2_of_a_linear_model_is_its_optimum(targeted, classes):
    if targeted and classes > 2:
        pytest.skip("the nearest plane is not that of a given class")
    model, x, y = problem(classes)
    result = cw(L2(), steps=100, targeted=targeted)(model, x, 1 - y if targeted else y)
    least = smallest(L2, model, x, y)
    assert result.broken.all()
    assert (result.distance >= least - 1e-9).all()
    assert (result.distance / least).median() < 1.02
    assert (result.distance < 1.05 * least + 1e-3).all()


@pytest.mark.parametrize("targeted", [False, True])
def test_linf_of_a_linear_model_is_its_optimum_up_to_a_shrinking_of_tau(targeted):
    model, x, y = problem()
    result = cw(Linf(), steps=100, targeted=targeted)(model, x, 1 - y if targeted else y)
    least = smallest(Linf, model, x, y)
    assert result.broken.all()
    assert (result.distance >= least - 1e-9).all()
    assert (result.distance <= (least / 0.9).clamp_min(1 / 256) + 1e-4).all()


def test_l0_of_a_linear_model_is_the_fewest_entries():
    model, x, y = problem()
    model.bias.data += torch.tensor([0.5, -0.5])
    y = model(x).argmax(1)
    result = cw(L0(), steps=100)(model, x, y)
    slope = (model.weight[1 - y] - model.weight[y]).detach()
    gain = (slope.abs() * torch.where(slope > 0, 1 - x, x)).sort(dim=1, descending=True).values.cumsum(1)
    fewest = (gain <= -margin(model(x), y).detach()[:, None]).sum(1) + 1
    assert fewest.max() > 1
    assert result.broken.all()
    assert (result.distance >= fewest).all()
    assert (result.distance <= fewest + 1).all()


@pytest.mark.parametrize("norm", [L2, Linf, L0])
def test_confidence_is_reached(norm):
    model = network()
    x, y = images(model, 8)
    plain = cw(norm(), steps=40)(model, x, y)
    sure = cw(norm(), steps=40, confidence=0.5)(model, x, y)
    reached = sure.margin >= 0.5
    assert reached.double().mean() > 0.8
    assert (sure.distance >= plain.distance - 1e-3)[reached].double().mean() > 0.8


def test_leaving_searches_saves_work_and_loses_little():
    model = network()
    x, y = images(model)
    full = cw(L2(), steps=50, checks=0, warm=False)(model, x, y)
    quick = cw(L2(), steps=50)(model, x, y)
    assert (full.forwards == 451).all()
    assert quick.forwards.double().mean() < 0.7 * 451
    assert quick.broken.all()
    assert quick.distance.median() <= 1.03 * full.distance.median()


def test_where_there_is_no_gradient_nothing_moves():
    x = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(3).long()
    for norm in (L2, Linf, L0):
        result = cw(norm(), steps=10)(lambda x: torch.stack([0 * x.sum(1) + 2, 0 * x.sum(1)], 1), x, y)
        assert not result.broken.any()
        assert torch.isfinite(result.x).all()


def test_a_box_of_any_size_or_none_has_the_same_attack():
    model, x, y = problem()
    one = cw(L2(), steps=40)(model, x, y)
    large = cw(Threat(L2(), low=0, high=255), steps=40)(lambda z: model(z / 255), 255 * x, y)
    assert torch.allclose(large.distance, 255 * one.distance, rtol=1e-6)
    free = cw(Threat(L2(), low=-torch.inf, high=torch.inf), steps=100)(model, x, y)
    assert (free.distance <= 1.05 * smallest(L2, model, x, y) + 1e-3).all()


@pytest.mark.parametrize("library", ["cleverhans", "foolbox", "adv_lib"])
def test_no_peer_finds_smaller_changes(subject, library):  # noqa: F811
    peer("adv_lib.attacks" if library == "adv_lib" else library)
    model, x, y = subject
    x, y = x[:40], y[:40]
    searches, steps = 5, 40
    with torch.random.fork_rng():
        if library == "cleverhans":
            from cleverhans.torch.attacks.carlini_wagner_l2 import carlini_wagner_l2

            theirs = carlini_wagner_l2(
                model, x, 5, y=y, lr=0.01, binary_search_steps=searches, max_iterations=steps, initial_const=1e-2
            )
        elif library == "foolbox":
            import foolbox

            attack = foolbox.attacks.L2CarliniWagnerAttack(
                binary_search_steps=searches, steps=steps, stepsize=0.01, initial_const=1e-2
            )
            theirs = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=None)[0]
        else:
            from adv_lib.attacks import carlini_wagner_l2

            theirs = carlini_wagner_l2(
                model, x, y, binary_search_steps=searches, max_iterations=steps, initial_const=1e-2
            )
    far = (theirs - x).flatten(1).norm(dim=1).masked_fill(model(theirs).argmax(1) == y, torch.inf)
    ours = cw(L2(), searches=searches, steps=steps)(model, x, y)
    assert torch.isfinite(far).any()
    assert int(ours.broken.sum()) >= int(torch.isfinite(far).sum())
    assert ours.needed.median() <= 1.01 * far.median()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"searches": 0}, "expected searches as a whole number >= 1"),
        ({"steps": 0}, "expected steps as a whole number >= 1"),
        ({"size": 0.0}, "expected size as a number > 0"),
        ({"first": -1.0}, "expected first as a number > 0"),
        ({"checks": -1}, "expected checks as a whole number >= 0"),
        ({"confidence": -1.0}, "expected confidence as a number >= 0"),
    ],
)
def test_bad_settings_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        cw(L2(), **settings)
    with pytest.raises(InputError, match="expected L2 or Linf or L0 for cw"):
        cw(L1())
