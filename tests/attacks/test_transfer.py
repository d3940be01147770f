"""Transfer: crafted on one model, judged on another."""

import pytest
import torch
from torch import nn

from steelman.attacks import Break, Cascade, Last, Worst, at_input, fgsm, pgd
from steelman.attacks.transfer import transfer
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import Linf
from steelman.threat import Threat

from .conformance import Network, images

CRAFT = pgd(Linf(0.2), steps=10, size=0.05, start=at_input)


def pair(n=40):
    """Two models that agree on most images: the second is the first with noise on its weights."""
    victim, surrogate = Network(), Network()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for parameter in surrogate.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return victim, surrogate, *images(victim, n)


def test_it_shows_the_victim_what_the_surrogate_gave():
    victim, surrogate, x, y, natural = pair()
    crafted = CRAFT.with_goal(Worst())(surrogate, x, y)
    result = transfer(CRAFT, surrogate).with_goal(Last())(victim, x, y)
    assert torch.allclose(result.x, crafted.x)
    assert torch.allclose(result.distance, crafted.distance)
    assert torch.allclose(result.margin, margin(victim(crafted.x), y).detach())
    assert torch.equal(result.natural, natural)
    usual = transfer(CRAFT, surrogate)(victim, x, y)
    assert torch.equal(usual.x[natural], x[natural])
    assert torch.equal(usual.broken, (result.margin > 0) | natural)
    assert float(usual.broken[~natural].double().mean()) > 0.5


def test_the_victim_pays_two_looks_and_gives_no_gradient():
    victim, surrogate, x, y, natural = pair()
    victim.forwards = victim.backwards = 0
    result = transfer(CRAFT, surrogate)(victim, x, y)
    assert torch.equal(result.forwards, torch.where(natural, 1, 2))
    assert not result.backwards.any()
    assert victim.forwards == int(result.forwards.sum())
    assert victim.backwards == 0
    cut = transfer(CRAFT, surrogate)(lambda x: victim(x).detach(), x, y)
    assert torch.equal(cut.broken, result.broken)


def test_going_on_after_the_surrogate_is_fooled_transfers_better():
    victim, surrogate, x, y, _ = pair(100)
    eager = transfer(CRAFT, surrogate, goal=Break())(victim, x, y)
    thorough = transfer(CRAFT, surrogate)(victim, x, y)
    assert int(thorough.broken.sum()) > int(eager.broken.sum())


def test_from_the_model_to_itself_it_is_the_attack():
    victim, _, x, y, _ = pair()
    own = transfer(CRAFT, victim)(victim, x, y)
    assert torch.equal(own.broken, CRAFT(victim, x, y).broken)


def test_each_sample_keeps_its_own_radius_and_aim():
    victim, surrogate, x, y, _ = pair()
    eps = torch.linspace(0, 0.2, 40, dtype=torch.float64)
    result = transfer(CRAFT, surrogate).at(eps)(victim, x, y, slots=7)
    assert (result.distance <= eps + 1e-9).all()
    assert torch.equal(result.x[0], x[0])
    wanted = (y + 1) % 4
    aimed = transfer(pgd(Linf(0.3), steps=10, targeted=True), surrogate)(victim, x, wanted)
    assert torch.equal(aimed.broken, margin(victim(aimed.x), wanted).detach() < 0)
    assert aimed.broken.any()


def test_a_cascade_crafts_too():
    victim, surrogate, x, y, _ = pair()
    several = Cascade(name="several", threat=Threat(Linf(0.2)), attacks=(fgsm(Linf(0.2)), CRAFT))
    result = transfer(several, surrogate).at(0.1)(victim, x, y)
    assert (result.distance <= 0.1 + 1e-9).all()
    assert result.broken.any()


def test_the_surrogate_is_left_as_it_was():
    victim, surrogate, x, y, _ = pair()
    surrogate.train()
    transfer(CRAFT, surrogate)(victim, x, y)
    assert surrogate.training
    assert all(parameter.requires_grad for parameter in surrogate.parameters())


def test_its_record_names_the_surrogate():
    record = repr(transfer(CRAFT, nn.Sequential(nn.Flatten()), called="mnist/cnn"))
    assert "surrogate='mnist/cnn'" in record
    assert "name='transfer-pgd'" in record
    assert " at 0x" not in record


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Network(shape=(2, 5)), r"takes images of shape \(1, 4, 3\).*got Network, which says"),
        (Network(classes=5), "surrogate with the 4 classes .* with 5"),
        (Network(classes=2), "surrogate with the 4 classes .* with 2"),
    ],
)
def test_a_surrogate_of_another_shape_is_one_clear_error(other, message):
    victim, _, x, y, _ = pair()
    with pytest.raises(InputError, match=message):
        transfer(CRAFT, other)(victim, x, y)


def test_what_is_no_attack_or_no_model_is_an_error():
    with pytest.raises(InputError, match="expected an attack to craft with"):
        transfer(pgd, Network())
    with pytest.raises(InputError, match="expected a model as the surrogate"):
        transfer(CRAFT, "mnist/cnn")
