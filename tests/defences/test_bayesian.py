"""The purifier that says how sure it is."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman import defences, weights
from steelman.defences import BayesianAutoencoder
from steelman.errors import InputError


def made(seed=0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BayesianAutoencoder(**settings).eval()


def images(n=3, channels=1, side=28, dtype=torch.float32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0), dtype=dtype)


def member(net, at, x):
    """One member as a network of its own, written from the description."""

    def layer(module, x, **how):
        weight, bias = module.weight.chunk(net.members)[at], module.bias.chunk(net.members)[at]
        return F.conv2d(x, weight, bias, **how)

    fine = F.gelu(layer(net.enter, F.pixel_unshuffle(x, 2), padding=1))
    code = F.gelu(layer(net.down, fine, stride=2, padding=1))
    for module in net.coarse:
        code = code + F.gelu(layer(module, code, padding=1))
    up = F.pixel_shuffle(F.gelu(layer(net.up, code)), 2)
    out = F.pixel_shuffle(layer(net.leave, F.gelu(layer(net.merge, fine + up, padding=1)), padding=1), 2)
    painted, kept, scale = out.sigmoid().chunk(3, 1)
    return painted * (1 - kept) + x * kept, 0.01**scale


@pytest.mark.parametrize("channels", [1, 3])
def test_each_member_is_a_network_of_its_own(channels):
    net, x = made(channels=channels, members=3, width=4, code=6), images(channels=channels)
    means, deviations = net.answers(x)
    assert means.shape == deviations.shape == (3, 3, channels, 28, 28)
    for at in range(3):
        mean, deviation = member(net, at, x)
        assert torch.allclose(means[:, at], mean, atol=1e-5)
        assert torch.allclose(deviations[:, at], deviation, atol=1e-5)
    assert not torch.allclose(means[:, 0], means[:, 1], atol=1e-3)


def test_the_uncertainty_is_that_of_the_even_mixture():
    net, x = made().double(), images(dtype=torch.float64)
    purified, unsure = net.both(x)
    means, deviations = net.answers(x)
    second = (deviations**2 + means**2).mean(1)
    variance = second - means.mean(1) ** 2
    assert torch.allclose(purified, means.mean(1))
    assert torch.allclose(unsure, variance.flatten(1).mean(1).sqrt())
    assert unsure.shape == (3,)
    assert torch.equal(net(x), purified)
    assert torch.equal(net.uncertainty(x), unsure)
    drawn = means + deviations * torch.randn(400, *means.shape, generator=torch.Generator().manual_seed(1)).double()
    told = drawn.transpose(0, 1).flatten(1, 2).var(1).flatten(1).mean(1).sqrt()
    assert torch.allclose(told, unsure, rtol=0.02)


def test_members_that_agree_leave_the_noise_alone():
    net, x = made(members=2, width=4, code=4), images()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.cat([parameter.chunk(2)[0]] * 2))
    _, deviations = net.answers(x)
    assert torch.allclose(net.uncertainty(x), deviations[:, 0].square().flatten(1).mean(1).sqrt(), atol=1e-6)


def test_deviations_lie_between_a_hundredth_and_one():
    net = made(members=2, width=4, code=4)
    for bias, wanted in ((100.0, 0.01), (-100.0, 1.0)):
        nn.init.constant_(net.leave.bias, bias)
        assert torch.allclose(net.answers(images())[1], torch.tensor(wanted))


@pytest.mark.parametrize("side", [28, 30, 27, 32, 5])
def test_any_side_and_each_image_on_its_own(side):
    net, x = made(), images(side=side)
    purified, unsure = net.both(x)
    assert purified.shape == x.shape
    alone = [net.both(image) for image in x.split(1)]
    assert torch.allclose(torch.cat([image for image, _ in alone]), purified, atol=1e-5)
    assert torch.allclose(torch.cat([value for _, value in alone]), unsure, atol=1e-5)


def test_it_is_noisy_in_training_and_deterministic_in_use():
    net, x = made(), images()
    assert torch.equal(net.both(x)[1], net.both(x)[1])
    net.train()
    assert not torch.equal(net(x), net(x))
    assert torch.equal(*(made(noise=0.0).train()(x) for _ in range(2)))


def test_an_attacker_can_go_through_the_uncertainty_too():
    net, x = made(), images().requires_grad_()
    (grad,) = torch.autograd.grad(net.uncertainty(x).sum(), x)
    assert torch.isfinite(grad).all()
    assert (grad.flatten(1).abs().sum(1) > 0).all()


def test_a_file_gives_it_back_with_its_uncertainty(tmp_path):
    net, x = made(3, members=3, width=8, code=8, depth=1), images()
    weights.write(net, tmp_path / "net.safetensors", {"defence": "bayesian-autoencoder", "arguments": net.settings})
    again = defences.load(tmp_path / "net.safetensors")
    assert isinstance(again, BayesianAutoencoder)
    assert again.settings == net.settings
    assert torch.equal(again.uncertainty(x), net.uncertainty(x))


def test_an_untrained_one_nearly_hands_the_image_on():
    net, x = made(), images()
    assert (net(x) - x).abs().max() < 0.1


def test_it_is_small():
    assert 4 * sum(p.numel() for p in made().parameters()) < 1.2e6


@pytest.mark.parametrize(
    ("settings", "told"), [({"members": 0}, "members"), ({"members": 1.5}, "members"), ({"width": 0}, "width")]
)
def test_a_network_that_cannot_be_is_turned_away(settings, told):
    with pytest.raises(InputError, match=f"expected {told}"):
        BayesianAutoencoder(**settings)


def test_images_that_are_none_are_turned_away():
    net = made()
    for x, told in ((images(channels=3), r"\(N, 1, H, W\)"), (images() * 2, r"in \[0, 1\]")):
        for ask in (net, net.uncertainty, net.both, net.answers):
            with pytest.raises(InputError, match=told):
                ask(x)
    assert torch.isfinite(net.uncertainty(torch.zeros(1, 1, 8, 8))).all()
