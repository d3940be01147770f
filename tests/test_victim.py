"""A model under attack is checked at the door and put back as it was."""

import pytest
import torch
from torch import nn

from steelman.attacks import Worst, at_input, fgsm, pgd
from steelman.errors import InputError
from steelman.losses import cross_entropy, margin
from steelman.norms import Linf
from steelman.threat import Threat
from steelman.victim import Victim, check


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3)
        )


def images(n=6):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 4, 4, generator=generator), torch.randint(3, (n,), generator=generator)


def attacked(model, x, y, **settings):
    """An attack that takes every step, so that every part of the engine touches the model."""
    return pgd(Linf(0.3), steps=3).with_goal(Worst())(model, x, y, **settings)


def picture(model):
    """Everything about a model that an attack could leave changed."""
    return (
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if parameter.grad is None else parameter.grad.clone().tolist() for parameter in model.parameters()],
        {name: value.clone().tolist() for name, value in model.state_dict().items()},
    )


@pytest.mark.parametrize("mode", ["eval", "train", "as it is"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("ending", ["well", "in an error"])
def test_a_model_is_put_back_as_it_was(mode, training, ending):
    model = network().train(training)
    model[1].train(not training)
    model[0].weight.requires_grad_(False)
    x, y = images()
    model(x).sum().backward()
    before, generator = picture(model), torch.random.get_rng_state()
    if ending == "well":
        attacked(model, x, y, mode=mode)
    else:
        with pytest.raises(ZeroDivisionError):
            attacked(model, x, y, mode=mode, progress=lambda progress: 1 / 0)
    assert picture(model) == before
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_a_mode_is_what_the_model_runs_in():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(self.training)
            return torch.stack([x.flatten(1).sum(1), x.flatten(1).prod(1)], dim=1)

    x, y = images()
    y = y % 2
    for mode, training, expected in [("eval", True, False), ("train", False, True), ("as it is", True, True)]:
        seen.clear()
        attacked(Spy().train(training), x, y, mode=mode)
        assert set(seen) == {expected}


def test_batch_statistics_move_inside_and_are_put_back():
    model, (x, y) = network(), images()
    mean = model[1].running_mean.clone()
    with Victim(model, mode="train") as victim:
        victim.logits(x, y)
        assert not torch.equal(model[1].running_mean, mean)
        assert model[1].num_batches_tracked == 1
    assert torch.equal(model[1].running_mean, mean)
    assert model[1].num_batches_tracked == 0


def test_parameters_take_no_gradient_inside():
    model, (x, y) = network().eval(), images()
    with Victim(model) as victim:
        assert not any(parameter.requires_grad for parameter in model.parameters())
        answer = victim.answer(x, y, lambda logits: cross_entropy(logits, y))
    wanted = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cross_entropy(model(wanted), y).sum(), wanted)
    assert torch.allclose(answer.grad, grad)
    assert torch.allclose(answer.logits, model(x))
    assert not answer.logits.requires_grad
    assert (victim.forwards, victim.backwards) == (6, 6)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_targeted_victim_changes_the_sign():
    model, (x, y) = network().eval(), images()
    with Victim(model) as victim, Victim(model, targeted=True) as targeted:
        logits = victim.logits(x, y)
        assert torch.equal(targeted.margin(logits, y), -victim.margin(logits, y))
        assert torch.equal(victim.margin(logits, y), margin(logits, y))


def test_gradients_of_several_values_come_one_by_one():
    model, (x, y) = network().eval(), images()
    with Victim(model) as victim:
        answer = victim.answer(x, y, lambda logits: logits[:, [2, 0]])
        assert (victim.forwards, victim.backwards) == (6, 12)
        for column, label in enumerate((2, 0)):
            alone = victim.answer(x, y, lambda logits, label=label: logits[:, label])
            assert torch.allclose(answer.grad[:, column], alone.grad)
            assert torch.equal(answer.value[:, column], alone.value)
    assert answer.grad.shape == (6, 2, *x.shape[1:])


class Cutting(nn.Module):
    def forward(self, x):
        return x.detach()


def test_the_module_that_cuts_the_gradient_is_named():
    model, (x, y) = network().eval(), images()
    pipeline = nn.Sequential(nn.Sequential(nn.Identity(), Cutting()), model)
    with pytest.raises(InputError, match=r"cut in 0\.1 \(Cutting\)"):
        pgd(Linf(0.1), steps=3)(pipeline, x, y)
    with pytest.raises(InputError, match="do not depend on the image by autograd: wrap"):
        pgd(Linf(0.1), steps=3)(lambda x: model(x.detach()), x, y)


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_works_inside_any_gradient_mode(around):
    model, (x, y) = network().eval(), images()
    expected = attacked(model, x, y)
    with around():
        fresh = x.clone(), y.clone()
        result = attacked(model, *fresh, indices=torch.arange(6))
        assert torch.equal(result.x, expected.x)
        each = pgd(Linf(torch.full((6,), 0.3)), steps=3).with_goal(Worst())(model, *fresh)
    assert torch.allclose(each.x, expected.x)
    assert not result.x.requires_grad
    assert not result.x.is_inference()


def test_a_victim_opened_in_inference_mode_still_answers():
    model, (x, y) = network().eval(), images()
    with torch.inference_mode(), Victim(model) as victim:
        inside = victim.answer(x, y, lambda logits: cross_entropy(logits, y))
    with Victim(model) as victim:
        assert torch.equal(inside.grad, victim.answer(x, y, lambda logits: cross_entropy(logits, y)).grad)


def test_half_precision_answers_are_widened():
    x, y = images()
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).to(torch.bfloat16)
    with Victim(lambda x: model(x.to(torch.bfloat16))) as victim:
        assert victim.logits(x, y).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x * torch.nan, y), "finite images"),
        (lambda x, y: (x.masked_fill(x > 0.9, torch.nan), y), "finite images"),
        (lambda x, y: (x.masked_fill(x > 0.9, torch.inf), y), "maximum of inf"),
        (lambda x, y: (255 * x, y), r"expected images in \[0, 1\], got a maximum of .*: divide by 255"),
        (lambda x, y: (x + 0.5, y), "normalisation inside the model"),
        (lambda x, y: (x - 0.5, y), "got a minimum of"),
        (
            lambda x, y: ((255 * x).to(torch.uint8), y),
            "expected images as a float32 or float64 tensor, got torch.uint8",
        ),
        (lambda x, y: (x.half(), y), r"got torch.float16: convert them with x.float\(\)$"),
        (lambda x, y: (x.numpy(), y), "float64 tensor, got ndarray"),
        (lambda x, y: (x[:0], y[:0]), "at least one image"),
        (lambda x, y: (x[:, :, :0], y), "at least one image"),
        (lambda x, y: (x.flatten()[:6], y), "at least one image"),
        (lambda x, y: (x, y.float()), "expected labels as 6 integers"),
        (lambda x, y: (x, y > 0), "expected labels as 6 integers"),
        (lambda x, y: (x, y[:3]), "expected labels as 6 integers"),
        (lambda x, y: (x, y[:, None]), "expected labels as 6 integers"),
        (lambda x, y: (x, y.tolist()), "got list"),
        (lambda x, y: (x, y - 9), "expected labels >= 0, got -"),
        (lambda x, y: (x, y + 3), r"expected labels in \[0, 3\)"),
    ],
)
@pytest.mark.parametrize("attack", [fgsm(Linf(0.1)), pgd(Linf(0.1), steps=2)], ids=["from the input", "at random"])
def test_bad_images_and_labels_are_refused_at_the_door(change, message, attack):
    with pytest.raises(InputError, match=message):
        attack(network(), *change(*images()))


def test_a_bad_label_is_found_wherever_it_stands():
    x, y = images(20)
    y[17] = 3
    with pytest.raises(InputError, match=r"expected labels in \[0, 3\).*got 3"):
        pgd(Linf(0.1), steps=2)(network(), x, y, slots=4)


def test_a_box_without_walls_still_wants_finite_images():
    x, y = images()
    everywhere = Threat(Linf(0.1), low=-torch.inf, high=torch.inf)
    fgsm(everywhere)(network(), 50 * x - 20, y)
    with pytest.raises(InputError, match="finite"):
        fgsm(everywhere)(network(), x.masked_fill(x > 0.9, torch.inf), y)


@pytest.mark.parametrize("given", [torch.arange(5), torch.arange(6)[:, None], torch.rand(6)])
def test_indices_are_one_whole_number_for_each_image(given):
    with pytest.raises(InputError, match="expected indices as 6 integers"):
        attacked(network(), *images(), indices=given)


@pytest.mark.parametrize("slots", [0, -3])
def test_slots_are_a_positive_number(slots):
    with pytest.raises(InputError, match="slots >= 1"):
        attacked(network(), *images(), slots=slots)


@pytest.mark.parametrize(
    "answer",
    [
        lambda z: z[:, 0],
        lambda z: z[:, :1],
        lambda z: z[:2],
        lambda z: z[:, :, None],
        lambda z: (z, z),
        lambda z: z.detach().numpy(),
    ],
)
def test_an_answer_that_is_no_table_of_logits_is_an_error(answer):
    model, (x, y) = network(), images()
    for attack in (fgsm(Linf(0.1)), pgd(Linf(0.1), steps=2)):
        with pytest.raises(InputError, match=r"expected logits of shape \(6, classes >= 2\), got"):
            attack(lambda x: answer(model(x)), x, y)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_an_answer_that_is_not_finite_is_an_error(bad):
    model, (x, y) = network(), images()

    def broken(x):
        return model(x).masked_fill(torch.eye(6, 3, dtype=torch.bool), bad)

    for attack in (fgsm(Linf(0.1)), pgd(Linf(0.1), steps=2)):
        with pytest.raises(InputError, match="finite logits"):
            attack(broken, x, y)
    with Victim(broken) as victim, pytest.raises(InputError, match="finite logits"):
        victim.logits(x, y)


def test_a_gradient_that_is_not_a_number_is_an_error():
    """The root's slope at zero is infinite, and infinity times zero is no direction."""
    x, y = torch.zeros(2, 4), torch.tensor([0, 1])

    def rooted(x):
        length = (x * x).sum(1).sqrt()
        return torch.stack([length, -length], dim=1)

    with pytest.raises(InputError, match="gradient without NaN"):
        fgsm(Linf(0.1))(rooted, x, y)


def test_probabilities_are_warned_of_once():
    model, (x, y) = network(), images()
    with pytest.warns(UserWarning, match="probabilities, not logits") as caught:
        attacked(nn.Sequential(model, nn.Softmax(1)), x, y)
    assert len(caught) == 1
    attacked(model, x, y)


@pytest.mark.parametrize("cut", [lambda x: x.detach(), lambda x: (x > 0.5).float()])
def test_a_cut_gradient_names_the_way_out(cut):
    model, (x, y) = network(), images()
    for parameters in (True, False):
        model.requires_grad_(parameters)
        with pytest.raises(InputError, match="StraightThrough"):
            pgd(Linf(0.1), steps=2)(lambda x: model(cut(x)), x, y)


def test_a_gradient_of_zero_is_no_error():
    """A rounding stage has a gradient, of zero everywhere: the attack runs and moves nothing."""
    model, (x, y) = network().eval(), images()
    result = pgd(Linf(0.1), steps=2, start=at_input)(lambda x: model(torch.round(x)), x, y)
    assert torch.equal(result.x, x)


def test_check_passes_what_is_right():
    x, y = images()
    check(x, y)
    check(2 * x - 1, y.to(torch.uint8), low=-1)
