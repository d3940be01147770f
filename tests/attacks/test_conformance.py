"""What holds for every attack of the catalogue, with every norm it offers, targeted and untargeted."""

import inspect
import math

import pytest
import torch

from steelman.attacks import Asks, Break, Finds, Worst, catalogue
from steelman.errors import InputError
from steelman.losses import margin

from .conformance import BALLS, CASES, INSIDE_A_BALL, SHAPES, Network, build, images

every = pytest.mark.parametrize(("name", "norm", "targeted"), CASES)
LONG = {
    "Linf": lambda d: d.abs().amax(1),
    "L2": lambda d: d.norm(dim=1),
    "L1": lambda d: d.abs().sum(1),
    "L0": lambda d: (d != 0).sum(1).to(d.dtype),
}
DUAL = {"Linf": 1, "L2": 2, "L1": torch.inf, "L0": torch.inf}


def reached(model, x, y, targeted):
    return (-1 if targeted else 1) * margin(model.eval()(x).detach(), y)


def same(a, b):
    """Equal up to the rounding of a matrix product, whose order of summation depends on the batch."""
    for field in ("x", "margin", "distance"):
        assert torch.allclose(getattr(a, field), getattr(b, field), rtol=1e-9, atol=1e-9), field
    assert torch.equal(a.broken, b.broken)
    assert torch.equal(a.natural, b.natural)


@pytest.mark.parametrize("name", INSIDE_A_BALL)
def test_what_the_catalogue_does_not_list_is_an_error(name):
    entry = catalogue[name]
    assert entry.norms
    assert set(entry.norms) <= set(BALLS)
    for norm in set(BALLS) - set(entry.norms):
        with pytest.raises(InputError, match=f"expected .* for {name}"):
            build(name, norm)
    assert entry.targeted == ("targeted" in inspect.signature(entry.recipe).parameters)
    if entry.finds is Finds.WITHIN:
        with pytest.raises(InputError, match=f"expected a radius for {name}"):
            build(name, entry.norms[0], eps=math.inf)


@every
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"rank {len(shape)}")
@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_are_inside_and_are_what_they_say(name, norm, targeted, shape, n, dtype):
    model = Network(shape, dtype=dtype)
    x, y, natural = images(model, n, shape, dtype, targeted=targeted)
    attack = build(name, norm, targeted=targeted)
    result = attack(model, x, y, seed=3)
    assert result.x.shape == x.shape
    assert result.x.dtype == dtype
    assert result.x.min() >= 0
    assert result.x.max() <= 1
    distance = LONG[norm]((result.x - x).flatten(1))
    assert (distance <= attack.threat.eps + 1e-6).all()
    assert torch.allclose(result.distance, distance, atol=1e-6)
    assert torch.allclose(result.margin, reached(model, result.x, y, targeted), atol=1e-4)
    assert torch.equal(result.broken, result.margin > 0)
    assert torch.equal(result.natural, natural)
    assert result.accuracy == pytest.approx(1 - float(result.broken.double().mean()))
    assert (result.margin >= reached(model, x, y, targeted) - 1e-4).all()


@every
def test_what_is_broken_already_comes_back_as_it_came(name, norm, targeted):
    model = Network()
    x, y, natural = images(model, targeted=targeted)
    result = build(name, norm, targeted=targeted)(model, x, y)
    assert natural.any()
    assert not natural.all()
    assert torch.equal(result.x[natural], x[natural])
    assert result.broken[natural].all()
    assert not result.distance[natural].any()
    assert not torch.equal(result.x[~natural], x[~natural])


@every
def test_images_labels_and_model_are_untouched(name, norm, targeted):
    model = Network().train()
    model.layers[1].eval()
    x, y, _ = images(Network(), targeted=targeted)
    model(x).sum().backward()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    before, generator = (x.clone(), y.clone()), torch.random.get_rng_state()
    result = build(name, norm, targeted=targeted)(model, x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert result.x.data_ptr() != x.data_ptr()
    assert not result.x.requires_grad
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), generator)


@every
def test_one_seed_one_result(name, norm, targeted):
    model = Network()
    x, y, _ = images(model, targeted=targeted)
    attack = build(name, norm, targeted=targeted, restarts=2)
    one = attack(model, x, y, seed=3)
    torch.manual_seed(99)
    other = attack(model, x, y, seed=3)
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.forwards, other.forwards)


@every
@pytest.mark.parametrize("goal", [Break(), Worst()])
def test_no_batch_order_or_number_of_slots_changes_a_sample(name, norm, targeted, goal):
    model = Network()
    x, y, _ = images(model, targeted=targeted)
    attack = build(name, norm, targeted=targeted, restarts=2).with_goal(goal)
    whole = attack(model, x, y, seed=3)
    for slots in (1, 3, 100):
        same(attack(model, x, y, seed=3, slots=slots), whole)
    order = torch.tensor([5, 0, 7, 2, 6, 1, 4, 3])
    for indices in order.split([1, 3, 4]):
        part = attack(model, x[indices], y[indices], seed=3, indices=indices)
        same(part, type(whole)(*(field[indices] for field in whole)))


@every
def test_no_radius_no_change(name, norm, targeted):
    model = Network()
    x, y, natural = images(model, targeted=targeted)
    for goal in (Break(), Worst()):
        result = build(name, norm, targeted=targeted).at(0.0).with_goal(goal)(model, x, y)
        assert torch.equal(result.x, x)
        assert torch.equal(result.broken, natural)


@every
def test_each_sample_may_have_its_own_radius(name, norm, targeted):
    model = Network()
    x, y, natural = images(model, targeted=targeted)
    eps = BALLS[norm].eps * torch.tensor([1.0, 0, 1, 2, 3, 0.5, 1, 0])
    attack = build(name, norm, targeted=targeted)
    result = attack.at(eps)(model, x, y, seed=3, slots=3)
    assert (result.distance <= eps + 1e-6).all()
    assert torch.equal(result.x[[1, 7]], x[[1, 7]])
    if catalogue[name].finds is Finds.WITHIN:
        assert (result.distance > BALLS[norm].eps * 1.01)[4] or result.broken[4]
    if name != "bim":  # whose size is one for all
        for i in range(8):
            own = attack.at(float(eps[i]))(model, x[i : i + 1], y[i : i + 1], seed=3, indices=torch.tensor([i]))
            assert torch.allclose(own.x[0], result.x[i], atol=1e-6)
    with pytest.raises(InputError, match="one for each of 8 samples, got 3"):
        attack.at(eps[:3])(model, x, y)
    assert torch.equal(result.natural, natural)


@every
@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_it_runs_where_gradients_are_switched_off(name, norm, targeted, around):
    model = Network()
    x, y, _ = images(model, targeted=targeted)
    attack = build(name, norm, targeted=targeted)
    expected = attack(model, x, y)
    with around():
        assert torch.equal(attack(model, x, y).x, expected.x)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_a_thousand_times_as_large_are_attacked_too(name, norm, targeted, dtype):
    large = Network(scale=1000.0, dtype=dtype)
    x, y, natural = images(large, dtype=dtype, targeted=targeted)
    attack = build(name, norm, targeted=targeted, eps=3 * BALLS[norm].eps)
    result = attack(large, x, y)
    assert attack.threat.holds(result.x, around=x).all()
    assert torch.allclose(result.margin, reached(large, result.x, y, targeted), rtol=1e-3, atol=1e-2)
    gained = (result.margin - reached(large, x, y, targeted))[~natural]
    assert (gained >= 0).all()
    assert gained.median() > 50


@every
def test_the_last_candidate_is_seen(name, norm, targeted):
    """One step breaks a linear model with room to spare; an attack that forgot to look would return the input.

    Two of the four classes are far below, there for the losses that need as many.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Linear(12, 4).double()
        model.bias.data[2:] = -1e3
    x = torch.rand(8, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = model(x).argmax(1)
    gap = -margin(model(x), y).detach()
    weight = (model.weight[0] - model.weight[1]).detach()
    # a sparse step gains less than the steepest, and a Frank-Wolfe move goes half the way, from anywhere in the ball
    room = 12 if name in ("gama-fw", "boundary") else 6 if norm == "L1" else 3
    eps = room * gap / weight.norm(p=DUAL[norm])
    eps = torch.full_like(gap, 12.0) if norm == "L0" else eps  # a number of entries, here all
    # attacks that see decisions alone start at noise, which must not be classified as the classes that are far below
    edge = 10.0 if catalogue[name].asks is Asks.DECISIONS else 1e3
    wide = {"low": -edge, "high": edge}
    attack = build(name, norm, targeted=targeted, eps=eps, box=wide, steps=1, size=float(eps.max()), alpha_init=100.0)
    result = attack(model, x, 1 - y if targeted else y)
    assert not result.natural.any()
    assert result.broken.all()


@every
@pytest.mark.parametrize("goal", [Break(), Worst()])
def test_passes_are_counted_exactly(name, norm, targeted, goal):
    model = Network()
    x, y, _ = images(model, targeted=targeted)
    attack = build(name, norm, targeted=targeted, restarts=2).with_goal(goal)
    for slots in (3, 100):
        model.forwards = model.backwards = 0
        result = attack(model, x, y, slots=slots)
        assert int(result.forwards.sum()) == model.forwards
        assert int(result.backwards.sum()) == model.backwards
        assert (result.forwards > 0).all()


@every
def test_more_attempts_are_never_worse(name, norm, targeted):
    if "restarts" not in inspect.signature(catalogue[name].recipe).parameters:
        pytest.skip("it has no restarts")
    model = Network()
    x, y, _ = images(model, targeted=targeted)
    once = build(name, norm, targeted=targeted, restarts=1, eps=BALLS[norm].eps / 2)(model, x, y)
    more = build(name, norm, targeted=targeted, restarts=3, eps=BALLS[norm].eps / 2)(model, x, y)
    assert (more.margin >= once.margin - 1e-9).all()


@every
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x * torch.nan, y), "finite images"),
        (lambda x, y: (x + 1, y), "expected images in"),
        (lambda x, y: (x, y - 4), "expected labels >= 0"),
        (lambda x, y: (x, y + 4), r"expected labels in \[0, 4\)"),
        (lambda x, y: (x, y.double()), "integers"),
    ],
)
def test_bad_images_and_labels_are_errors(name, norm, targeted, spoil, message):
    model = Network()
    x, y, _ = images(model, targeted=targeted)
    with pytest.raises(InputError, match=message):
        build(name, norm, targeted=targeted)(model, *spoil(x, y))


@every
def test_logits_that_are_not_finite_are_an_error(name, norm, targeted):
    model = Network()
    x, y, _ = images(model, targeted=targeted)
    with pytest.raises(InputError, match="finite logits"):
        build(name, norm, targeted=targeted)(lambda x: model(x) * torch.nan, x, y)


@every
def test_its_repr_is_its_record(name, norm, targeted):
    attack = build(name, norm, targeted=targeted)
    assert f"name='{name}'" in repr(attack)
    assert repr(attack.threat) in repr(attack)
    assert f"targeted={targeted}" in repr(attack)
    assert " at 0x" not in repr(attack), repr(attack)
