"""What is minimised."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import Last, at_input, fgsm, pgd
from steelman.data import Images
from steelman.norms import Linf
from steelman.training import Classify, Purify, accuracy
from steelman.training.objectives import _erased, _shifted


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
        held=(fgsm(Linf(0.1)),),
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
    scores = Purify(classifier=classifier, attacks=(), held=(attack,)).validate(Echo(), images())
    assert scores["clean"] == accuracy(classifier, images())
    assert scores["fgsm 0.1"] == float((~attack(classifier, x, y).broken).float().mean())
    assert scores["mean"] == (scores["clean"] + scores["fgsm 0.1"]) / 2
