"""PuVAE: the nearest of a class's reconstructions, drawn, and what an attacker can differentiate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from steelman import defences, weights
from steelman.attacks import Last, averaged, fgsm
from steelman.defences import PuVAE, guard
from steelman.errors import InputError
from steelman.models import CNN
from steelman.norms import Linf


def made(seed: int = 0, **settings: object) -> PuVAE:
    """A small one whose reconstructions differ from class to class and from image to image."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = PuVAE(**{"side": 8, "classes": 4, "latent": 5, "width": 6, **settings})  # type: ignore[arg-type]
        with torch.no_grad():
            vae.paint[-1].weight.normal_(0, 1)
            vae.told.weight.normal_(0, 1)
    return vae.eval()


def images(n: int = 6, channels: int = 1, side: int = 8) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def as_the_paper(vae: PuVAE, image: Tensor, noise: Tensor) -> Tensor:
    """One image, (1, *S), class after class, with the noise of each, (classes, latent)."""
    best, nearest = image, float("inf")
    for label in range(vae.classes):
        mean, log_deviation = vae.codes(image, torch.tensor([label]))
        z = mean + log_deviation.exp() * noise[label]
        x = torch.sigmoid(vae.logits(z, torch.tensor([label])))
        distance = float(((x - image) ** 2).mean() ** 0.5)
        if distance < nearest:
            best, nearest = x, distance
    return best


def test_it_answers_the_nearest_of_all_classes_as_a_loop_over_them_does() -> None:
    vae, x = made(), images(12)
    torch.manual_seed(7)
    found = vae(x)
    torch.manual_seed(7)
    noise = torch.randn(12, 4, 5)
    expected = torch.cat([as_the_paper(vae, image[None], noise[i]) for i, image in enumerate(x)])
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, expected.flip(0), atol=1e-2)


def test_the_class_kept_differs_from_image_to_image() -> None:
    vae, x = made(sample=False), images(40)
    assert vae.errors(vae.reconstructions(x), x).argmin(1).unique().numel() > 1


def test_errors_are_root_mean_squares() -> None:
    vae, x = made(), images()
    given = torch.rand(6, 4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    expected = torch.stack([(given[:, k] - x).flatten(1).norm(dim=1) / 8 for k in range(4)], dim=1)
    assert torch.allclose(vae.errors(given, x), expected, atol=1e-6)


def test_codes_and_reconstructions_of_all_classes_are_those_of_each() -> None:
    vae, x = made(), images()
    every = vae.codes(x)
    logits = vae.logits(every.mean)
    for label in range(4):
        y = torch.full((6,), label)
        one = vae.codes(x, y)
        assert torch.allclose(one.mean, every.mean[:, label], atol=1e-6)
        assert torch.allclose(one.log_deviation, every.log_deviation[:, label], atol=1e-6)
        assert torch.allclose(vae.logits(one.mean, y), logits[:, label], atol=1e-5)
    assert not torch.allclose(every.mean[:, 0], every.mean[:, 1], atol=1e-3)


def test_it_draws_unless_told_not_to() -> None:
    drawn, x = made(), images()
    assert not torch.equal(drawn(x), drawn(x))
    torch.manual_seed(0)
    first = drawn(x)
    torch.manual_seed(0)
    assert torch.equal(drawn(x), first)
    still = drawn.with_settings(sample=False)
    assert torch.equal(still(x), still(x))
    assert torch.equal(drawn.train()(x) == drawn(x), torch.zeros_like(x, dtype=torch.bool))


def test_codes_are_drawn_with_their_mean_and_deviation() -> None:
    vae = made()
    codes = vae.codes(images(1).expand(20_000, -1, -1, -1), torch.zeros(20_000, dtype=torch.int64))
    torch.manual_seed(0)
    z = codes.sample()
    assert torch.allclose(z.mean(0), codes.mean[0], atol=0.05)
    assert torch.allclose(z.std(0), codes.log_deviation[0].exp(), rtol=0.05)


def test_each_image_is_answered_on_its_own() -> None:
    vae, x = made(sample=False), images()
    assert torch.allclose(torch.cat([vae(image) for image in x.split(1)]), vae(x), atol=1e-6)


def test_the_gradient_is_exact_through_what_was_kept() -> None:
    vae, x = made(sample=False).double(), images(3).double()
    weight = torch.rand(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    image = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad((vae(image) * weight).sum(), image)
    way = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        ahead, behind = ((vae(x + step * way) * weight).sum() for step in (1e-6, -1e-6))
    assert float((grad * way).sum()) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-4)


def test_marginal_weighs_classes_by_their_errors_and_is_smooth() -> None:
    vae, x = made(sample=False, choice="marginal", temperature=0.05).double(), images().double()
    every = vae.reconstructions(x)
    shares = torch.softmax(-vae.errors(every, x) / 0.05, dim=1)
    assert torch.allclose(vae(x), sum(shares[:, k, None, None, None] * every[:, k] for k in range(4)))
    assert torch.allclose(vae.with_settings(temperature=1e-6)(x), vae.with_settings(choice="nearest")(x))
    assert torch.autograd.gradcheck(vae, (x[:1].requires_grad_(),), atol=1e-5, fast_mode=True)


def test_the_gradient_of_a_perfect_reconstruction_is_finite() -> None:
    vae = made(sample=False, choice="marginal")
    with torch.no_grad():
        vae.paint[-1].weight.zero_()
        vae.paint[-1].bias.zero_()
    x = torch.full((2, 1, 8, 8), 0.5, requires_grad=True)
    (grad,) = torch.autograd.grad(vae(x).sum(), x)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("choice", ["nearest", "marginal"])
def test_an_attack_goes_through_it(choice: str) -> None:
    model = guard(made(choice=choice), CNN(width=4, classes=4))
    x, y = images(4), torch.arange(4)
    assert (fgsm(Linf(0.1)).with_goal(Last()).through(averaged(2))(model, x, y).distance > 0.05).all()


def test_a_gradient_reaches_every_parameter() -> None:
    vae, x = made(classes=2).train(), images(64).requires_grad_()
    vae(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in vae.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 28])
def test_images_go_in_and_images_come_out(channels: int, side: int) -> None:
    vae, x = made(channels=channels, side=side), images(3, channels, side)
    before = x.clone()
    for kind in (torch.float32, torch.float64):
        out = vae.to(kind)(x.to(kind)).detach()
        assert out.shape == x.shape
        assert out.dtype == kind
        assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert torch.equal(x, before)
    with torch.no_grad():
        assert vae.float()(x[:0]).shape == (0, channels, side, side)


def test_it_is_small_and_survives_a_file(tmp_path: Path) -> None:
    vae, path = PuVAE(sample=False, temperature=0.02), tmp_path / "puvae.safetensors"
    weights.write(vae, path, {"defence": "puvae", "arguments": vae.settings})
    assert path.stat().st_size < 900_000
    loaded, x = defences.load(path), images(side=28)
    assert isinstance(loaded, PuVAE)
    assert loaded.settings == vae.settings
    assert torch.equal(loaded(x), vae.eval()(x))
    assert defences.build("puvae", channels=3, side=32, classes=100)(images(2, 3, 32)).shape == (2, 3, 32, 32)


def test_other_uses_share_the_networks() -> None:
    vae = made().train()
    other = vae.with_settings(sample=False, choice="marginal")
    assert other.training
    assert other.look is vae.look
    assert weights.digest(other) == weights.digest(vae)
    assert vae.settings["choice"] == "nearest"
    with pytest.raises(InputError, match=r"expected .*setting of PuVAE's use.*'latent'"):
        vae.with_settings(latent=3)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"side": 30}, "multiple of 4"),
        ({"side": True}, "multiple of 4"),
        ({"classes": 1}, "expected classes of PuVAE as a whole number from 2, got 1"),
        ({"latent": 0}, "expected latent"),
        ({"width": 2.5}, "expected width"),
        ({"choice": "neares"}, "did you mean nearest"),
        ({"temperature": 0.0}, "expected temperature of PuVAE as a number > 0, got 0.0"),
        ({"temperature": float("nan")}, "expected temperature"),
    ],
)
def test_settings_out_of_range_are_errors(settings: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        PuVAE(**settings)  # type: ignore[arg-type]


def test_wrong_images_are_errors_with_a_way_out() -> None:
    with pytest.raises(InputError, match=r"models\.fitted"):
        made()(images(side=28))
    with pytest.raises(InputError, match=r"expected images \(N, 1, H, W\)"):
        made()(images(channels=3))
    with pytest.raises(InputError, match="before the normalisation"):
        made()(2 * images() - 1)
