"""Training on noisy images, as a classifier wants it that is to be smoothed."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.data import Images
from steelman.errors import InputError
from steelman.training import Classify, accuracy


def images(n=64):
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 3, ("a", "b", "c"), "noise")


def linear():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()


def test_noise_is_gaussian_unclipped_and_new_at_every_batch():
    objective, x = Classify(noise=0.5), images().x
    torch.manual_seed(0)
    added = objective.augmented(x) - x
    assert abs(float(added.mean())) < 0.03
    assert float(added.std()) == pytest.approx(0.5, abs=0.03)
    assert (x + added).min() < 0
    assert not torch.equal(objective.augmented(x), objective.augmented(x))
    assert torch.equal(Classify().augmented(x), x)


def test_the_loss_is_read_of_the_noisy_images():
    model, (x, y) = linear(), (images().x, images().y)
    torch.manual_seed(3)
    noisy = x + 0.5 * torch.randn_like(x)
    torch.manual_seed(3)
    assert torch.allclose(Classify(noise=0.5).loss(model, (x, y)), F.cross_entropy(model(noisy), y))


def test_noise_judges_first_and_is_the_same_every_time():
    model = linear()
    scores = Classify(noise=0.5).validate(model, images())
    assert list(scores) == ["noisy", "accuracy"]
    assert scores == Classify(noise=0.5).validate(model, images())
    assert scores["accuracy"] == accuracy(model, images())
    assert scores["noisy"] == accuracy(model, images(), batch_size=7, noise=0.5)
    assert list(Classify().validate(model, images())) == ["accuracy"]


@pytest.mark.parametrize("noise", [-0.1, math.nan, math.inf])
def test_a_noise_that_is_none_is_one_error(noise):
    with pytest.raises(InputError, match="expected noise as a standard deviation >= 0"):
        Classify(noise=noise)
