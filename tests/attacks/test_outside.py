"""What holds for every attack that no ball describes, or that other images or models have a part in."""

import pytest
import torch

from steelman.attacks import Last, Worst, catalogue, pgd
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L2, Linf

from .conformance import CASCADES, INSIDE_A_BALL, OF_A_SET, Network, images

SHAPE = (1, 8, 9)
SURROGATE = Network(SHAPE, seed=0, scale=1.5)
MADE = {
    "universal": lambda entry: entry(L2(0.4), passes=2),
    "sgd-uap": lambda entry: entry(Linf(0.05), epochs=3, batch=3),
    "transfer": lambda entry: entry(pgd(Linf(0.05), steps=3), SURROGATE),
    "patch": lambda entry: entry(area=0.1, steps=5, batch=4),
    "lavan": lambda entry: entry(area=0.1, steps=5, restarts=2),
    "spatial": lambda entry: entry(grid=(3, 3)),
    "corruptions": lambda entry: entry(severities=(1, 5)),
}
OUTSIDE = [name for name in catalogue if name not in (*INSIDE_A_BALL, *CASCADES)]
every = pytest.mark.parametrize("name", OUTSIDE)


def build(name):
    return MADE[name](catalogue[name])


def subject(n=8):
    model = Network(SHAPE)
    return model, *images(model, n, SHAPE)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 8])
def test_results_are_in_the_box_and_are_what_they_say(name, dtype, n):
    model = Network(SHAPE, dtype=dtype)
    x, y, natural = images(model, n, SHAPE, dtype)
    if name == "transfer" and dtype == torch.float32:
        pytest.skip("its surrogate is of the other type")
    attack = build(name)
    result = attack(model, x, y, seed=3)
    assert result.x.shape == x.shape
    assert result.x.dtype == dtype
    assert result.x.min() >= 0
    assert result.x.max() <= 1
    assert torch.allclose(result.margin, margin(model.eval()(result.x).detach(), y), atol=1e-4)
    assert torch.equal(result.broken, result.margin > 0)
    assert torch.equal(result.natural, natural)
    assert torch.allclose(result.distance, attack.threat.distance(result.x, around=x), atol=1e-6)


@every
def test_what_is_broken_already_comes_back_as_it_came(name):
    model, x, y, natural = subject()
    result = build(name)(model, x, y)
    assert torch.equal(result.x[natural], x[natural])
    assert result.broken[natural].all()
    assert (result.by[natural] == -1).all()
    assert not torch.equal(result.x[~natural], x[~natural])


@every
def test_images_labels_model_and_generator_are_untouched(name):
    model, x, y, _ = subject()
    model.train()
    before, generator = (x.clone(), y.clone()), torch.random.get_rng_state()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    result = build(name)(model, x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert result.x.data_ptr() != x.data_ptr()
    assert not result.x.requires_grad
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), generator)


@every
@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_one_seed_one_result(name, around):
    model, x, y, _ = subject()
    one = build(name)(model, x, y, seed=3)
    torch.manual_seed(99)
    with around():
        other = build(name)(model, x, y, seed=3)
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.forwards, other.forwards)


@every
def test_no_order_or_number_of_slots_changes_a_sample(name):
    model, x, y, _ = subject()
    whole = build(name)(model, x, y, seed=3)
    order = torch.tensor([5, 0, 7, 2, 6, 1, 4, 3])
    for slots in (1, 3, 100):
        assert torch.allclose(build(name)(model, x, y, seed=3, slots=slots).x, whole.x, atol=1e-9)
    for indices in [order] if name in (*OF_A_SET, "patch") else order.split([1, 3, 4]):
        part = build(name)(model, x[indices], y[indices], seed=3, indices=indices)
        assert torch.allclose(part.x, whole.x[indices], atol=1e-9)
        assert torch.equal(part.broken, whole.broken[indices])


@every
@pytest.mark.parametrize("goal", [None, Worst(), Last()])
def test_passes_are_counted_exactly(name, goal):
    model, x, y, _ = subject()
    attack = build(name) if goal is None else build(name).with_goal(goal)
    for slots in (3, 100):
        model.forwards = model.backwards = 0
        result = attack(model, x, y, slots=slots)
        assert int(result.forwards.sum()) == model.forwards
        assert int(result.backwards.sum()) == model.backwards


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
def test_bad_images_and_labels_are_errors(name, spoil, message):
    model, x, y, _ = subject()
    with pytest.raises(InputError, match=message):
        build(name)(model, *spoil(x, y))


@every
def test_its_repr_is_its_record(name):
    attack = build(name)
    assert name in repr(attack)
    assert repr(attack.threat) in repr(attack)
    assert " at 0x" not in repr(attack), repr(attack)
