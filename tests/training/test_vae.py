"""What PuVAE and MagNet's reformer are trained on, and their whole trainings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from steelman import defences, training, weights
from steelman.attacks import Last, fgsm
from steelman.cli.main import main
from steelman.data import Data, Images
from steelman.defences import PuVAE, Reformer
from steelman.defences.puvae import Drawn
from steelman.errors import InputError
from steelman.models import CNN
from steelman.norms import Linf
from steelman.training import Purify, Recipe
from steelman.training.objectives.reconstruct import Reconstruct
from steelman.training.objectives.vae import Variational, divergence

RECIPE = Recipe(epochs=1, batch_size=16, rate=1e-3, precision="fp32")
FGSM = fgsm(Linf(0.3)).with_goal(Last())


def images(n: int = 24, seed: int = 0) -> Images:
    """Four kinds of images, each bright in a corner of its own."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 4
    x = 0.3 * torch.rand(n, 1, 8, 8, generator=generator)
    for i, label in enumerate(y.tolist()):
        row, column = divmod(label, 2)
        x[i, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.6
    return Images(x, y, ("a", "b", "c", "d"), "corners")


def scaled(gain: float = 8.0) -> nn.Module:
    layer = nn.Linear(4, 4, bias=False).requires_grad_(False)
    layer.weight.copy_(gain * torch.eye(4))
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), layer).eval()


def vae() -> PuVAE:
    torch.manual_seed(0)
    return PuVAE(side=8, classes=4, latent=4, width=6)


def purify(**settings: object) -> Purify:
    return Purify(**{"classifier": scaled(), "attacks": (), "val": (FGSM,), **settings})  # type: ignore[arg-type]


def test_the_divergence_is_that_of_normal_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = Drawn(*(torch.randn(5, 3, generator=generator) for _ in range(2)))
    theirs = torch.distributions.Normal(codes.mean, codes.log_deviation.exp())
    ours = torch.distributions.Normal(torch.zeros(5, 3), torch.ones(5, 3))
    assert torch.allclose(divergence(codes), torch.distributions.kl_divergence(theirs, ours).sum(1), atol=1e-5)
    assert not divergence(Drawn(torch.zeros(2, 3), torch.zeros(2, 3))).any()


def test_the_loss_is_the_papers_with_the_papers_weights() -> None:
    model, (x, y), objective = vae(), (images().x, images().y), Variational(purify=purify())
    torch.manual_seed(5)
    found = objective.loss(model, (x, y))
    torch.manual_seed(5)
    mean, log_deviation = model.codes(x, y)
    z = mean + log_deviation.exp() * torch.randn_like(mean)
    made = torch.sigmoid(model.logits(z, y))
    likelihood = (x * made.log() + (1 - x) * (1 - made).log()).sum((1, 2, 3)).mean()
    apart = 0.5 * (mean**2 + (2 * log_deviation).exp() - 1 - 2 * log_deviation).sum(1).mean()
    expected = -0.01 * likelihood + 0.1 * apart + 10 * F.cross_entropy(scaled()(made), y)
    assert torch.allclose(found, expected, rtol=1e-5)


def test_choosing_adds_how_surely_the_right_class_is_nearest_and_changes_nothing_else() -> None:
    model, (x, y), objective = vae(), (images().x, images().y), Variational(purify=purify(), choosing=3.0)
    torch.manual_seed(5)
    found = objective.loss(model, (x, y))
    torch.manual_seed(5)
    every = model.codes(x)
    made = torch.sigmoid(model.logits(every.sample()))
    own = made[torch.arange(24), y]
    codes = model.codes(x, y)
    expected = (
        0.01 * F.binary_cross_entropy(own, x, reduction="sum") / 24
        + 0.1 * divergence(codes).mean()
        + 10 * F.cross_entropy(scaled()(own), y)
        + 3 * F.cross_entropy(-model.errors(made, x) / model.temperature, y)
    )
    assert torch.allclose(found, expected, rtol=1e-5)


def test_the_encoder_is_shown_what_the_attacks_make_and_gives_the_clean_image_back() -> None:
    class Shown(PuVAE):
        def codes(self, x: torch.Tensor, y: torch.Tensor | None = None) -> Drawn:
            self.seen = x
            return super().codes(x, y)

    torch.manual_seed(0)
    model, (x, y) = Shown(side=8, classes=4, latent=4, width=6), (images().x, images().y)
    hidden = purify(attacks=((FGSM, 0.5),), clean=0.25)
    Variational(purify=hidden).loss(model, (x, y))
    change = (model.seen - x).abs().flatten(1).amax(1)
    assert not change[:6].any()
    assert (change[6:] > 0).all()
    given = [Variational(purify=one, divergence=0, reading=0) for one in (hidden, purify())]
    with torch.no_grad():
        model.paint[-1].weight.zero_()  # what is painted then depends on nothing, so that only the target can differ
    assert torch.equal(given[0].loss(model, (x, y)), given[1].loss(model, (x, y)))


def test_it_learns_images_that_the_classifier_reads_behind_it() -> None:
    """As the paper trains, and with attacks: what it could not do at first it can do behind."""
    train, val = images(192, 1), images(48, 2)
    recipe = Recipe(epochs=12, batch_size=32, rate=1e-2, precision="fp32")
    for shown, choosing in (((), 0.0), (((FGSM, 0.5),), 1.0)):
        model, objective = vae(), Variational(purify=purify(attacks=shown), reading=1.0, choosing=choosing)
        before = objective.validate(model.eval(), val)
        history = training.fit(model, objective, train, val, recipe)
        assert before["mean"] < 0.6
        assert max(epoch.scores["clean"] for epoch in history) > 0.95
        assert list(history[-1].scores) == ["mean", "clean", "fgsm 0.3"]


def test_reconstruct_is_the_mean_squared_error_on_clean_images_from_noisy_ones() -> None:
    x = images().x
    torch.manual_seed(0)
    reformer = Reformer()
    torch.manual_seed(3)
    noisy = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
    torch.manual_seed(3)
    assert torch.allclose(Reconstruct().loss(reformer, (x,)), (reformer(noisy) - x).square().mean())
    torch.manual_seed(3)
    assert torch.allclose(Reconstruct(noise=0.0).loss(reformer, (x,)), (reformer(x) - x).square().mean())


def test_reconstruct_is_judged_on_clean_images() -> None:
    reformer, val = Reformer(), images(1001)
    scores = Reconstruct().validate(reformer, val)
    with torch.no_grad():
        error = float((reformer(val.x) - val.x).square().mean())
    assert scores["mean squared error"] == pytest.approx(error, rel=1e-5)
    assert scores["score"] == pytest.approx(1 / (1 + error))


@pytest.mark.parametrize("name", ["reconstruction", "divergence", "reading", "choosing"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_weights_out_of_range_are_errors(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"expected {name} of Variational"):
        Variational(purify=purify(), **{name: value})
    with pytest.raises(InputError, match="expected noise of Reconstruct"):
        Reconstruct(noise=value)


def data() -> Data:
    return Data("corners", images(36, 1), images(12, 2))


@pytest.mark.parametrize("attacked", [False, True])
def test_a_whole_training_of_puvae_leaves_its_record(attacked: bool, tmp_path: Path) -> None:
    model, judge = vae(), CNN(width=4, classes=4)
    trained = training.puvae(model, judge, data(), recipe=RECIPE, attacked=attacked)
    path = tmp_path / "puvae.safetensors"
    trained.save(path)
    settings = weights.read(path)[1]
    assert settings["defence"] == "puvae"
    assert settings["arguments"] == model.settings
    assert settings["trained_on"] == 36
    assert settings["classifier"] == weights.digest(judge)
    assert settings["validation"].keys() == {"mean", "clean", "fgsm 0.3", "fgsm 0.6", "pgd 0.15"}
    objective = settings["objective"]
    weighed = "divergence=0.01, reading=1.0, choosing=1.0" if attacked else "divergence=0.1, reading=10.0, choosing=0.0"
    assert f"reconstruction=0.01, {weighed}" in objective
    assert ("attacks=()" in objective) != attacked
    assert isinstance(defences.load(path), PuVAE)


def test_a_whole_training_of_magnet_leaves_its_record(tmp_path: Path) -> None:
    trained = training.magnet(Reformer(), data(), recipe=RECIPE)
    path = tmp_path / "magnet.safetensors"
    trained.save(path)
    assert trained.settings["objective"] == "Reconstruct(noise=0.1)"
    assert isinstance(defences.load(path), Reformer)


def test_the_papers_numbers_stand_in_the_recipe_of_magnet() -> None:
    recipe = training.named("magnet")
    assert (recipe.epochs, recipe.batch_size, recipe.optimiser, recipe.rate) == (100, 256, "adam", 1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight images to train on and eight to test on, as files."""
    root = tmp_path_factory.mktemp("corners")
    for split, chosen in (("train", images(48, 1)), ("test", images(8, 2))):
        for i, (x, y) in enumerate(zip(chosen.x, chosen.y.tolist(), strict=True)):
            place = root / split / chosen.classes[y]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((255 * x[0]).byte().numpy()).save(place / f"{i}.png")
    return root


@pytest.mark.parametrize("name", ["puvae", "puvae-hardened", "magnet"])
def test_the_command_trains_it(name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, judge = tmp_path / f"{name}.safetensors", CNN(width=16, classes=4)
    weights.write(judge, tmp_path / "judge.safetensors", {"model": "cnn", "arguments": judge.settings})
    words = ["train", "purifier", "--purifier", name, "--data", str(folder), "--epochs", "1", "--out", str(out)]
    assert main([*words, "--classifier", "cnn", "--weights", str(tmp_path / "judge.safetensors")]) == 0
    made = defences.load(out)
    assert isinstance(made, Reformer if name == "magnet" else PuVAE)
    assert made(images().x).shape == (24, 1, 8, 8)
    assert "wrote" in capsys.readouterr().out
