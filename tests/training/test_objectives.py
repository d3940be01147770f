"""What is minimised."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import Last, at_input, fgsm, pgd
from steelman.data import Images
from steelman.errors import InputError
from steelman.norms import Linf
from steelman.precision import precision
from steelman.training import Adversarial, Classify, Purify, Recipe, accuracy, fit
from steelman.training.objectives.classify import _erased, _shifted


def images(n: int = 24) -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 3, ("a", "b", "c"), "noise")


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval().requires_grad_(False)


class Echo(nn.Module):
    """Hands on what it gets, and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.seen = torch.empty(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x * self.gain


def test_classify_without_augmentation_is_cross_entropy() -> None:
    x, y = images().x, images().y
    assert torch.allclose(Classify().loss(linear(), (x, y)), F.cross_entropy(linear()(x), y))


def test_classify_reads_what_it_augments() -> None:
    model, (x, y) = linear(), (images().x, images().y)
    torch.manual_seed(3)
    moved = _shifted(x, 2)
    torch.manual_seed(3)
    assert torch.allclose(Classify(shift=2).loss(model, (x, y)), F.cross_entropy(model(moved), y))


def test_a_shift_moves_every_image_by_whole_pixels_and_fills_with_black() -> None:
    x = images(16).x + 0.1
    torch.manual_seed(0)
    moved = _shifted(x, 2)
    offsets = set()
    for before, after in zip(x, moved, strict=True):
        found = [
            (a, b)
            for a in range(-2, 3)
            for b in range(-2, 3)
            if torch.equal(F.pad(before, (2, 2, 2, 2))[:, 2 + a : 10 + a, 2 + b : 10 + b], after)
        ]
        assert len(found) == 1
        offsets.add(found[0])
    assert len(offsets) > 5


def test_erasing_changes_one_square_an_image() -> None:
    x = torch.zeros(6, 1, 8, 8)
    torch.manual_seed(0)
    assert ((_erased(x, 3) != 0).flatten(1).sum(1) == 9).all()


def test_purify_attacks_its_shares_inside_their_eps_and_leaves_the_rest() -> None:
    echo = Echo()
    objective = Purify(
        classifier=linear(),
        attacks=(
            (fgsm(Linf(0.0)).with_goal(Last()), 0.5),
            (pgd(Linf(0.0), steps=3, start=at_input).with_goal(Last()), 0.1),
        ),
        val=(fgsm(Linf(0.1)),),
        clean=0.25,
    )
    x, y = images().x, images().y
    torch.manual_seed(0)
    loss = objective.loss(echo, (x, y))
    change = (echo.seen - x).abs().flatten(1).amax(1)
    assert (change[:6] == 0).all()
    assert (change[6:15] > 0).all()
    assert (change[6:15] <= 0.5).all()
    assert change[6:15].max() > 0.1
    assert (change[15:] <= 0.1 + 1e-6).all()
    loss.backward()
    assert echo.gain.grad is not None


def test_purify_is_judged_on_what_the_held_attacks_do_to_the_classifier() -> None:
    classifier = linear()
    x, y = images().x, images().y
    attack = fgsm(Linf(0.1))
    scores = Purify(classifier=classifier, attacks=(), val=(attack,)).validate(Echo(), images())
    assert scores["clean"] == accuracy(classifier, images())
    assert scores["fgsm 0.1"] == float((~attack(classifier, x, y).broken).float().mean())
    assert scores["mean"] == (scores["clean"] + scores["fgsm 0.1"]) / 2


PGD = pgd(Linf(0.1), steps=3).with_goal(Last())


class Watched(nn.Module):
    """A classifier with batch norm and dropout that notes the mode, images and precision of every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 3))
        self.passes: list[tuple[bool, torch.Tensor, torch.dtype]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        self.passes.append((self.training, x.detach(), out.dtype))
        return out


def test_adversarial_is_cross_entropy_on_what_the_attack_makes() -> None:
    model, (x, y) = linear(), (images().x, images().y)
    torch.manual_seed(5)
    seed = int(torch.randint(2**31, ()))
    x_adv = PGD(model, x, y, seed=seed).x
    torch.manual_seed(5)
    loss = Adversarial(attack=PGD, val=PGD, classify=Classify(smoothing=0.1)).loss(model, (x, y))
    assert torch.allclose(loss, F.cross_entropy(model(x_adv), y, label_smoothing=0.1))
    assert loss > 1.05 * F.cross_entropy(model(x), y, label_smoothing=0.1)
    assert not torch.allclose(loss, Adversarial(attack=PGD, val=PGD).loss(model, (x, y)))


def test_adversarial_draws_anew_at_every_step() -> None:
    found = []
    for seed in (1, 2, 1):
        torch.manual_seed(0)
        model = Watched().train()
        torch.manual_seed(seed)
        Adversarial(attack=PGD, val=PGD).loss(model, (images().x, images().y))
        found.append(model.passes[-1][1])
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


def test_adversarial_attacks_in_evaluation_mode_and_learns_in_training_mode() -> None:
    model, (x, y) = Watched().train(), (images().x, images().y)
    objective = Adversarial(attack=PGD, val=PGD, classify=Classify(shift=2))
    objective.loss(model, (x, y)).backward()
    *attacked, (training, seen, _) = model.passes
    assert attacked
    assert not any(mode for mode, *_ in attacked)
    assert training
    assert all(module.training for module in model.modules())
    assert int(model.layers[1].num_batches_tracked) == 1
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    shifted = attacked[0][1]
    assert (seen - x).abs().amax() > 0.2
    assert (seen - shifted).abs().amax() <= 0.2 + 1e-6


def test_adversarial_attacks_in_the_precision_of_the_fit() -> None:
    x, y = images().x, images().y
    for name, wanted in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        model = Watched().train()
        with precision(name, x.device):
            Adversarial(attack=PGD, val=PGD).loss(model, (x, y))
        assert [dtype for *_, dtype in model.passes].count(wanted) >= 1 + PGD.rule.steps
        assert model.passes[-1][2] == wanted


def test_the_ramp_lets_eps_rise_from_nothing_to_all() -> None:
    model, (x, y) = Watched(), (images().x, images().y)
    objective = Adversarial(attack=pgd(Linf(0.2), steps=4, size=0.1).with_goal(Last()), val=PGD, ramp=0.5)
    found = {}
    for done in (0.0, 0.125, 0.25, 0.5, 0.9):
        objective.loss(model, (x, y), done)
        found[done] = float((model.passes[-1][1] - x).abs().amax())
    assert found == pytest.approx({0.0: 0.0, 0.125: 0.05, 0.25: 0.1, 0.5: 0.2, 0.9: 0.2}, abs=1e-6)
    with pytest.raises(InputError, match="expected ramp as a share"):
        Adversarial(attack=PGD, val=PGD, ramp=1.5)


def test_adversarial_is_judged_under_the_held_attack_first() -> None:
    model, (x, y) = linear(), (images().x, images().y)
    val = fgsm(Linf(0.01))
    scores = Adversarial(attack=PGD, val=val).validate(model, images())
    assert list(scores) == ["fgsm 0.01", "clean"]
    assert scores["fgsm 0.01"] == val(model, x, y).accuracy
    assert scores["clean"] == accuracy(model, images())
    assert PGD(model, x, y).accuracy < scores["fgsm 0.01"] < scores["clean"]


def test_adversarial_training_leaves_what_an_attack_can_turn_and_keeps_what_it_cannot() -> None:
    """One pixel tells nine in ten labels and survives; the rest tell all together, each by less than eps.

    As in Tsipras et al. 2019, section 2.1: the accurate classifier is the one that an attack turns.
    """
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(512) % 2
    sign = 2.0 * y[:, None] - 1
    x = 0.5 + 0.03 * sign + 0.05 * torch.randn(512, 64, generator=generator)
    told = torch.where(torch.rand(512, generator=generator) < 0.9, sign[:, 0], -sign[:, 0])
    x[:, 0] = 0.5 + 0.4 * told
    examples = Images(x.clamp(0, 1).view(-1, 1, 8, 8), y, ("a", "b"), "two kinds of pixels")
    recipe = Recipe(epochs=30, batch_size=64, rate=0.03, precision="fp32")
    robust = {}
    for objective in (Classify(), Adversarial(attack=PGD, val=PGD)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        fit(model, objective, examples, examples, recipe)
        robust[type(objective)] = PGD(model, examples.x, examples.y).accuracy
        assert accuracy(model, examples) > 0.85
    assert robust[Classify] < 0.6
    assert robust[Adversarial] > 0.85
