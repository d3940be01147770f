"""Defense-GAN: its projection beside one written from the paper, what leaves the batch, and what an attacker gets."""

import math

import pytest
import torch

from steelman import defences, weights
from steelman.attacks import Last, fgsm
from steelman.defences import DefenseGAN, guard
from steelman.errors import InputError
from steelman.evaluation.measure import latency
from steelman.models import CNN
from steelman.norms import Linf


def made(seed=0, **settings):
    small = {"side": 8, "latent": 4, "width": 4, "steps": 12, "starts": 3, "tolerance": 0.0}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        gan = DefenseGAN(**{**small, **settings}).eval()
        for parameter in gan.generator.parameters():  # an untrained generator is grey; this one has contrast
            parameter.data *= 3
    return gan


def images(n=5, channels=1, side=8):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def starts(gan, n, seed=0):
    torch.manual_seed(seed)
    return torch.randn(n, gan.starts, gan.latent)


def answered(gan, x, seed=0):
    torch.manual_seed(seed)
    return gan(x)


def walk(gan, x, z, rates, momentum):
    """Momentum's points for one image and one start, as the paper's authors move them, and the distance of each."""
    points, velocity = [], torch.zeros_like(z)
    for rate in [*rates, None]:
        z = z.detach().requires_grad_()
        distance = (gan.generator(z[None])[0] - x).abs().pow(gan.power).mean() ** (2 / gan.power)
        points.append((float(distance.detach()), z.detach()))
        if rate is not None:
            (grad,) = torch.autograd.grad(distance, z)
            velocity = momentum * velocity + grad
            z = z - rate * velocity
    return points


@pytest.mark.parametrize("power", [2.0, 6.0])
def test_it_is_the_papers_projection_from_every_start_and_the_nearest_is_kept(power):
    gan, x = made(power=power, rate=3.0, momentum=0.6), images()
    rates = [3.0] * 10 + [0.3] * 2  # the last fifth at a tenth; .8 of 12 is 9.6, rounded up
    out = answered(gan, x)
    for image, z, found in zip(x, starts(gan, len(x)), out, strict=True):
        _, best = min((min(walk(gan, image, start, rates, 0.6), key=lambda p: p[0]) for start in z), key=lambda p: p[0])
        assert torch.allclose(found, gan.generator(best[None])[0], atol=1e-5)


def test_the_papers_numbers_are_the_defaults():
    settings = DefenseGAN().settings
    expected = {"steps": 200, "starts": 10, "rate": 10.0, "momentum": 0.7, "power": 2.0, "gradient": "identity"}
    assert {name: settings[name] for name in expected} == expected
    assert settings["encoder"] is False


def test_more_steps_and_more_starts_come_nearer():
    gan, x = made(rate=3.0), images(16)
    away = {}
    for steps, count in ((0, 1), (0, 3), (12, 3), (40, 3)):
        out = answered(gan.with_settings(steps=steps, starts=count), x)
        away[steps, count] = float((out - x).detach().square().mean())
    assert away[0, 1] > away[0, 3] > away[12, 3] > away[40, 3]


def test_what_it_can_make_it_gives_back():
    gan = made(rate=5.0, steps=300, starts=8)
    with torch.no_grad():
        x = gan.generator(starts(gan, 4, seed=1)[:, 0])
        assert float((answered(gan, x) - x).square().mean()) < 0.05 * float((x - x.mean(0)).square().mean())


def counted(gan):
    sizes = []
    gan.generator.register_forward_hook(lambda module, args, out: sizes.append(len(out)))
    return sizes


def test_pairs_that_stopped_falling_leave_the_batch():
    x, whole, thin = images(6), made(rate=1.0, steps=200), made(rate=1.0, steps=200, tolerance=0.02)
    sizes = counted(thin)
    early = answered(thin, x)
    assert sizes[:11] == [18] * 11
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert len(set(sizes[:-1])) > 2
    late = answered(whole, x)
    away = [float((out.detach() - x).square().mean()) for out in (early, late)]
    assert away[0] < 1.1 * away[1]


def test_no_pair_leaves_at_a_tolerance_of_zero():
    gan = made(tolerance=0.0, steps=30)
    sizes = counted(gan)
    gan(images(2))
    assert sizes == [6] * 31 + [2]


def test_each_image_is_answered_on_its_own(monkeypatch):
    gan, x = made(encoder=True, starts=2, tolerance=1e-2, steps=30), images(7)
    together = gan(x)
    assert torch.allclose(together, torch.cat([gan(image) for image in x.split(1)]), atol=1e-5)
    monkeypatch.setattr("steelman.defences.defense_gan._PAIRS", 4)
    assert torch.allclose(together, gan(x), atol=1e-5)
    assert gan(x[:0]).shape == (0, 1, 8, 8)


def test_random_starts_are_found_by_asking_twice_and_a_seed_settles_them():
    gan, x = made(), images()
    assert not torch.equal(gan(x), gan(x))
    assert torch.equal(answered(gan, x), answered(gan, x))
    proposed = made(encoder=True)
    assert torch.equal(proposed(x), proposed(x))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("gradient", ["identity", "unrolled", "encoder"])
def test_it_answers_the_same_where_no_gradient_is_recorded(context, gradient):
    gan = made(gradient=gradient, encoder=True, unroll=5)
    x = images()
    expected = gan(x.clone().requires_grad_())
    with context():
        assert torch.allclose(gan(images()), expected, atol=1e-6)
    assert latency(gan, images(1), warm_up=1, runs=1) > 0


def test_nothing_is_left_on_the_parameters_and_frozen_ones_do():
    gan, x = made(), images()
    gan.requires_grad_(False)
    frozen = answered(gan, x.clone().requires_grad_())
    assert frozen.requires_grad
    gan.requires_grad_(True)
    assert torch.equal(answered(gan, x), frozen)
    assert all(parameter.grad is None for parameter in gan.parameters())


def test_double_precision_is_followed():
    gan = made().double()
    assert gan(images().double()).dtype == torch.float64


def test_the_identity_is_declared_for_the_way_back():
    gan, x = made(), images().requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    with_gradient = answered(gan, x)
    (grad,) = torch.autograd.grad((with_gradient * weight).sum(), x)
    assert torch.allclose(grad, weight)
    assert torch.equal(with_gradient, answered(gan, x.detach()))


def test_an_encoder_alone_is_differentiated_exactly():
    gan, x = made(encoder=True, starts=1, steps=0, gradient="encoder"), images(1)
    assert torch.allclose(gan(x), gan.generator(gan.encoder(x)))
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    moved = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad((gan(moved) * weight).sum(), moved)
    (exact,) = torch.autograd.grad((gan.generator(gan.encoder(moved)) * weight).sum(), moved)
    assert torch.allclose(grad, exact, atol=1e-7)
    assert exact.abs().max() > 0


def test_the_encoders_gradient_is_taken_where_the_search_ended():
    gan, x = made(encoder=True, gradient="encoder"), images(1).requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    which, z = gan._search(x.detach(), gan._starts(x).detach(), gan.steps)
    z = z.detach().requires_grad_()
    (at_z,) = torch.autograd.grad((gan.generator(z) * weight).sum(), z)
    (expected,) = torch.autograd.grad((gan._starts(x)[0, which] * at_z).sum(), x)
    (grad,) = torch.autograd.grad((gan(x) * weight).sum(), x)
    assert torch.allclose(grad, expected, atol=1e-6)


def test_unrolled_steps_are_differentiated_exactly():
    gan, x = made(gradient="unrolled", unroll=4, starts=2, encoder=True).double(), images(1).double()
    out = gan(x.requires_grad_())
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (grad,) = torch.autograd.grad((out * weight).sum(), x)
    with torch.no_grad():
        _, begin = gan._search(x, gan._starts(x), 8)

    def last(x):  # what the last four steps make of an image, all before them held
        z, velocity = begin, torch.zeros_like(begin)
        for rate in [10.0] * 2 + [1.0] * 2:
            step = torch.func.grad(lambda z: (gan.generator(z) - x).square().mean())(z)
            velocity = 0.7 * velocity + step
            z = z - rate * velocity
        return (gan.generator(z) * weight).sum()

    assert torch.allclose(out, gan(x.detach()))
    assert torch.allclose(last(x.detach()), (out * weight).sum())
    assert torch.allclose(torch.func.grad(last)(x.detach()), grad, atol=1e-9)
    assert grad.abs().max() > 0


@pytest.mark.parametrize("gradient", ["identity", "unrolled", "encoder"])
def test_an_attack_goes_through_each_of_its_gradients(gradient):
    gan = made(encoder=True, gradient=gradient, steps=4)
    x, y = images(), torch.arange(5) % 3
    result = fgsm(Linf(0.1)).with_goal(Last())(guard(gan, CNN(classes=3, width=4)), x, y)
    assert (result.distance > 0.05).all()


def test_other_settings_share_the_networks():
    gan = made()
    other = gan.with_settings(steps=1, gradient="unrolled", unroll=1)
    assert other.generator is gan.generator
    assert (other.settings["steps"], other.gradient, other.training) == (1, "unrolled", False)
    assert gan.settings["steps"] == 12
    with pytest.raises(InputError, match="setting of the projection"):
        gan.with_settings(latent=3)
    with pytest.raises(InputError, match="setting of the projection"):
        made(encoder=True).with_settings(starts=3)


def test_it_comes_back_from_a_file(tmp_path):
    for gan in (made(power=8.0), made(encoder=True, starts=2, gradient="encoder")):
        weights.write(gan, tmp_path / "gan.safetensors", {"defence": "defense-gan", "arguments": gan.settings})
        loaded = defences.load(tmp_path / "gan.safetensors")
        assert loaded.settings == gan.settings
        assert torch.equal(answered(loaded, images()), answered(gan, images()))


def test_it_is_small_enough_to_ship():
    for encoder in (False, True):
        gan = DefenseGAN(encoder=encoder, starts=1)
        assert 4 * sum(p.numel() for p in gan.parameters()) < 1.2e6
    assert DefenseGAN(channels=3, side=32).generator(torch.randn(2, 32)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "steps of DefenseGAN as a whole number from 0"),
        ({"starts": 0}, "starts of DefenseGAN as a whole number from 1"),
        ({"unroll": 0}, "unroll of DefenseGAN"),
        ({"side": 30}, "multiple of 4"),
        ({"momentum": 1.0}, r"momentum of DefenseGAN in \[0, 1\)"),
        ({"rate": math.nan}, "rate of DefenseGAN"),
        ({"power": 1.0}, r"power of DefenseGAN in \(1, 64\]"),
        ({"gradient": "encodr"}, "did you mean encoder"),
        ({"gradient": "encoder"}, "expected encoder=True"),
    ],
)
def test_a_setting_out_of_its_range_is_one_error(settings, message):
    with pytest.raises(InputError, match=message):
        DefenseGAN(**settings)


def test_images_of_another_kind_are_refused():
    gan = made()
    with pytest.raises(InputError, match="8×8"):
        gan(images(side=28))
    with pytest.raises(InputError, match="before the normalisation"):
        gan(images() * 2 - 1)
    with pytest.raises(InputError, match=r"\(N, 1, H, W\)"):
        gan(images(channels=3))
