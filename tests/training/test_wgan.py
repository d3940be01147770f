"""The training of Defense-GAN: whose turn it is, the critic's penalty, and whole trainings from the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from steelman import defences, weights
from steelman.attacks import Last, fgsm
from steelman.cli.main import main
from steelman.data import Data, Images
from steelman.defences import DefenseGAN
from steelman.errors import InputError
from steelman.models import CNN
from steelman.norms import Linf
from steelman.training import Purify, Recipe, defense_gan, defense_gan_encoder, fit
from steelman.training.objectives.wgan import Rivals, WassersteinGAN, _steepness

RECIPE = Recipe(epochs=1, batch_size=8, optimiser="adam", rate=1e-3, momentum=0.5, beta2=0.9, precision="fp32")


def images(n: int = 24, side: int = 8) -> Images:
    x = torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(0))
    return Images(x, torch.arange(n) % 3, ("a", "b", "c"), "noise")


def data(n: int = 24) -> Data:
    return Data("noise", images(n), images(6))


def gan(**settings: object) -> DefenseGAN:
    torch.manual_seed(0)
    small = {"side": 8, "latent": 4, "width": 4, "steps": 3, "starts": 2}
    return DefenseGAN(**{**small, **settings})  # type: ignore[arg-type]


def classifier() -> nn.Module:
    torch.manual_seed(1)
    return CNN(classes=3, width=4).eval().requires_grad_(False)


def judge() -> Purify:
    return Purify(classifier=classifier(), attacks=(), val=(fgsm(Linf(0.1)).with_goal(Last()),))


def grads(module: nn.Module) -> list[bool]:
    return [parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters()]


def test_the_critic_takes_its_steps_and_then_the_generator_one_and_the_other_gets_no_gradient() -> None:
    rivals, objective = Rivals(gan(), width=4), WassersteinGAN(judge=judge(), critic_steps=2)
    turns = []
    for _ in range(7):
        rivals.zero_grad(set_to_none=True)
        objective.loss(rivals, (images().x,)).backward()
        own, other = grads(rivals.defence.generator), grads(rivals.critic)
        assert all(own) or all(other[:-1])  # what is added to every score cancels
        assert any(own) != any(other)
        turns.append("generator" if any(own) else "critic")
    assert turns == ["critic", "critic", "generator"] * 2 + ["critic"]
    assert int(rivals.taken) == 7


def test_the_losses_are_those_of_algorithm_1() -> None:
    rivals, x = Rivals(gan(), width=4), images().x
    objective = WassersteinGAN(judge=judge(), critic_steps=1, penalty=3.0)
    generator, critic = rivals.defence.generator, rivals.critic
    torch.manual_seed(5)
    of_critic = objective.loss(rivals, (x,))
    of_generator = objective.loss(rivals, (x,))
    torch.manual_seed(5)
    made = generator(torch.randn(len(x), 4)).detach()
    share = torch.rand(len(x), 1, 1, 1)
    steep = 0.0
    for at in (x + share * (made - x)).split(1):
        at.requires_grad_()
        (grad,) = torch.autograd.grad(critic(at).sum(), at)
        steep += float((grad.norm() - 1) ** 2) / len(x)
    assert torch.allclose(of_critic, critic(made).mean() - critic(x).mean() + 3.0 * steep, atol=1e-5)
    assert torch.allclose(of_generator, -critic(generator(torch.randn(len(x), 4))).mean(), atol=1e-6)


def test_a_critic_of_slope_one_costs_nothing_and_a_steeper_one_its_excess() -> None:
    slope = nn.Sequential(nn.Flatten(), nn.Linear(64, 1, bias=False))
    for norm, expected in ((1.0, 0.0), (3.0, 4.0), (0.0, 1.0)):
        slope[1].weight.data = norm * torch.ones(1, 64) / 8
        found = _steepness(slope, images().x, images().x.flip(0))
        assert float(found.detach()) == pytest.approx(expected, abs=1e-5)


def test_it_is_judged_on_the_defence_with_the_projections_settings() -> None:
    rivals = Rivals(gan(), width=4).eval()
    objective = WassersteinGAN(judge=judge(), projection={"steps": 1, "starts": 3})
    torch.manual_seed(0)
    scores = objective.validate(rivals, images())
    torch.manual_seed(0)
    assert scores == judge().validate(rivals.defence.with_settings(steps=1, starts=3), images())
    assert list(scores) == ["mean", "clean", "fgsm 0.1"]


def test_numbers_out_of_their_range_are_errors() -> None:
    for changes in ({"critic_steps": 0}, {"penalty": -1.0}):
        with pytest.raises(InputError, match="critic_steps >= 1 and penalty >= 0"):
            WassersteinGAN(judge=judge(), **changes)  # type: ignore[arg-type]


def test_what_is_made_comes_nearer_to_what_is_there() -> None:
    """Images of one bright half: an untrained generator's are grey."""
    x = torch.zeros(128, 1, 8, 8)
    x[:, :, :, 4:] = 0.9
    there = Images(x, torch.arange(128) % 3, ("a", "b", "c"), "halves")
    rivals = Rivals(gan(), width=4)
    recipe = replace(RECIPE, epochs=10, batch_size=16, rate=0.03, schedule="constant")

    def contrast() -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            made = rivals.defence.generator(torch.randn(64, 4))
        return float(made[..., 4:].mean() - made[..., :4].mean())

    assert abs(contrast()) < 0.05
    objective = WassersteinGAN(judge=judge(), critic_steps=1)
    history = fit(rivals, _Last(objective), there, there.take(torch.arange(8)), recipe)
    assert len(history) == 10
    assert contrast() > 0.4


class _Last:
    """Keeps the last epoch, whatever its figures are."""

    def __init__(self, objective: WassersteinGAN) -> None:
        self.loss, self.epochs = objective.loss, 0

    def validate(self, model: nn.Module, validation: object) -> dict[str, float]:
        self.epochs += 1
        return {"epoch": float(self.epochs)}

    def __repr__(self) -> str:
        return "last"


def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """Whose turn it is comes back with the checkpoint: five steps an epoch, of three turns."""
    objective, digests = WassersteinGAN(judge=judge(), critic_steps=2), []

    class KilledError(Exception):
        pass

    def kill(progress: object) -> None:
        if getattr(progress, "step", 0) == 7:
            raise KilledError

    whole = Rivals(gan(), width=4)
    torch.manual_seed(2)
    fit(whole, objective, images(40), images(6), replace(RECIPE, epochs=2))
    digests.append(weights.digest(whole))
    for progress in (kill, None):
        torch.manual_seed(0)
        part = Rivals(gan(), width=4)
        try:
            fit(
                part,
                objective,
                images(40),
                images(6),
                replace(RECIPE, epochs=2),
                checkpoint=tmp_path / "c",
                progress=progress,
            )
        except KilledError:
            continue
        digests.append(weights.digest(part))
    assert len(set(digests)) == 1


def test_whole_trainings_leave_a_defence_that_loads(tmp_path: Path) -> None:
    path, model = tmp_path / "gan.safetensors", gan()
    before = weights.digest(model)
    trained = defense_gan(model, classifier(), data(), recipe=RECIPE)
    assert weights.digest(model) != before
    trained.save(path)
    loaded = defences.load(path)
    assert isinstance(loaded, DefenseGAN)
    assert loaded.settings == model.settings
    assert weights.digest(loaded) == weights.digest(model)
    assert list(trained.settings["validation"]) == ["mean", "clean", "fgsm 0.3", "fgsm 0.6"]
    both = gan(encoder=True, starts=1, steps=0, gradient="encoder")
    proposals = [parameter.clone() for parameter in both.encoder.parameters()]  # type: ignore[union-attr]
    found = defense_gan_encoder(loaded, both, classifier(), data(), recipe=RECIPE, steps=1)
    assert found.settings["generator"] == weights.digest(loaded)
    found.save(path)
    again = defences.load(path)
    assert isinstance(again, DefenseGAN)
    assert again.encoder is not None
    assert again.settings == both.settings
    assert weights.digest(again.generator) == weights.digest(loaded.generator)
    assert not any(torch.equal(a, b) for a, b in zip(proposals, again.encoder.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in both.parameters())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("test", 2)):
        for kind in ("a", "b", "c"):
            place = tmp_path / "own" / split / kind
            place.mkdir(parents=True)
            for i in range(n):
                Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8)).save(place / f"{i}.png")
    return tmp_path / "own"


def test_the_command_trains_a_generator_and_then_its_encoder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    weights.write(CNN(classes=3, width=16), tmp_path / "cnn.safetensors", {})
    common = ["train", "purifier", "--data", str(folder), "--classifier", "cnn"]
    common += ["--weights", str(tmp_path / "cnn.safetensors"), "--epochs", "1", "--batch-size", "12"]
    out = tmp_path / "gan.safetensors"
    assert main([*common, "--purifier", "defense-gan", "--out", str(out)]) == 0
    made = defences.load(out)
    assert made.settings["side"] == 12
    encoded = tmp_path / "encoder.safetensors"
    whole = [*common, "--purifier", "defense-gan-encoder", "--out", str(encoded)]
    assert main([*whole, "--generator", str(out)]) == 0
    assert defences.load(encoded).settings == made.settings | {
        "encoder": True,
        "steps": 0,
        "starts": 1,
        "gradient": "encoder",
    }
    other = tmp_path / "unet.safetensors"
    weights.write(defences.build("unet"), other, {"defence": "unet", "arguments": {}})
    assert main([*whole, "--generator", str(other)]) == 2
    assert "expected a Defense-GAN as generator, got UNetPurifier" in capsys.readouterr().err
    assert main(whole) == 2
    assert "defence" in capsys.readouterr().err
