"""Randomised smoothing: where it is known exactly what holds, and what is promised of the votes."""

import math

import pytest
import torch
from scipy.special import ndtri
from scipy.stats import beta, binomtest
from torch import nn

from steelman.attacks import pgd
from steelman.defences import ABSTAINED, Certificate, Smoothed, UNetPurifier
from steelman.defences.smoothing import lower_bound
from steelman.errors import InputError
from steelman.models import CNN
from steelman.norms import L2
from steelman.victim import Victim


def linear(inputs=12, classes=2, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes)).double().eval()


def images(n=6, side=(1, 3, 4), seed=0):
    return torch.rand(n, *side, generator=torch.Generator().manual_seed(seed)).double()


def distances(model, x):
    """How far (N,) each image is from the plane between two classes, positive for class 1."""
    weight, bias = model[1].weight.detach(), model[1].bias.detach()
    normal = weight[1] - weight[0]
    return (x.flatten(1) @ normal + bias[1] - bias[0]) / normal.norm()


def test_between_two_classes_and_a_plane_class_and_radius_are_known():
    """A plane at distance d leaves Φ(d / σ) of the noisy copies on its side, so that the true radius is d."""
    model, x = linear(), images(8)
    far = distances(model, x)
    found = Smoothed(model, sigma=0.5).certify(x, n=20_000, n0=200)
    certain = found.classes != ABSTAINED
    assert certain.sum() >= 6
    assert torch.equal(found.classes[certain], (far > 0).long()[certain])
    assert (found.radius <= far.abs()).all()
    assert (found.radius >= far.abs() - 0.05)[certain].all()
    shares = torch.special.ndtr(far.abs() / 0.5)
    assert (found.lower[certain] < shares[certain]).all()


def test_an_image_on_the_plane_is_abstained_on():
    model, x = linear(), images(3)
    weight = model[1].weight.detach()
    normal = (weight[1] - weight[0]).view(1, 3, 4)
    x = x - distances(model, x).view(-1, 1, 1, 1) * normal / normal.norm()
    smoothed = Smoothed(model, sigma=0.5)
    found = smoothed.certify(x, n=2000)
    assert (found.classes == ABSTAINED).all()
    assert not found.radius.any()
    assert (smoothed.predict(x, n=500) == ABSTAINED).all()


def test_prediction_is_the_class_of_the_plane_and_the_binomial_test():
    model, x = linear(), images(40)
    smoothed = Smoothed(model, sigma=0.5)
    found = smoothed.predict(x, n=200, alpha=0.01)
    certain = found != ABSTAINED
    assert 0 < certain.sum() < 40
    assert torch.equal(found[certain], (distances(model, x) > 0).long()[certain])
    from steelman.streams import Streams

    streams = Streams.of(0, torch.arange(40)).derive("smoothing").derive("prediction")
    votes = smoothed._votes(x, 200, streams, 77, None)
    assert (votes.sum(1) == 200).all()
    expected = [binomtest(int(row.max()), 200, 0.5).pvalue <= 0.01 for row in votes]
    assert certain.tolist() == expected


def test_the_bound_is_clopper_and_pearsons():
    agree = torch.tensor([0, 1, 50, 99, 100])
    expected = [0.0, *(beta.ppf(0.001, k, 100 - k + 1) for k in (1, 50, 99, 100))]
    assert lower_bound(agree, 100, 0.001).tolist() == pytest.approx(expected)
    assert lower_bound(torch.tensor([1000]), 1000, 0.001).item() == pytest.approx(0.001 ** (1 / 1000))


def test_the_largest_radius_is_the_papers():
    """All of 100,000 copies agree: .001^(1 / 100,000) at 99.9 %, which is 3.8 σ."""
    assert ndtri(lower_bound(torch.tensor([100_000]), 100_000, 0.001).item()) == pytest.approx(3.81, abs=0.01)
    constant = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval()
    with torch.no_grad():
        constant[1].weight.zero_()
        constant[1].bias.copy_(torch.tensor([0.0, 1.0]))
    found = Smoothed(constant, sigma=2.0).certify(images(2), n=1000)
    assert found.classes.tolist() == [1, 1]
    assert found.radius.tolist() == pytest.approx([2 * ndtri(0.001 ** (1 / 1000))] * 2)


def test_no_batch_and_no_order_changes_a_certificate():
    model, x = linear(classes=4), images(5)
    smoothed = Smoothed(model, sigma=0.7)
    whole = smoothed.certify(x, n=300, seed=3)
    for batch in (1, 7, 299, 10_000):
        assert all(
            torch.equal(a, b) for a, b in zip(whole, smoothed.certify(x, n=300, seed=3, batch=batch), strict=True)
        )
    order = torch.tensor([4, 0, 2])
    part = smoothed.certify(x[order], n=300, seed=3, indices=order)
    assert all(torch.equal(a[order], b) for a, b in zip(whole, part, strict=True))
    assert not torch.equal(whole.lower, smoothed.certify(x, n=300, seed=4).lower)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    smoothed.certify(x, n=20)
    assert torch.equal(before, torch.get_rng_state())


def test_the_copies_that_choose_are_not_those_that_count():
    """Chosen and counted on the same copies, a coin's side would seem certain more often than it may."""
    seen = []

    class Ear(nn.Module):
        def forward(self, x):
            seen.append(x)
            return torch.stack([x.flatten(1).sum(1), -x.flatten(1).sum(1)], 1)

    Smoothed(Ear().eval(), sigma=1.0).certify(images(1), n0=50, n=50, batch=50)
    assert len(seen) == 2
    assert not torch.isin(seen[0][:, 0, 0, 0], seen[1][:, 0, 0, 0]).any()
    noise = torch.cat(seen) - images(1)
    assert abs(float(noise.mean())) < 0.1
    assert abs(float(noise.std()) - 1) < 0.1


def test_progress_is_told_up_to_the_end():
    told = []
    Smoothed(linear(), sigma=0.5).certify(
        images(3), n0=10, n=50, batch=40, progress=lambda now: told.append((now.done, now.total))
    )
    assert [of for _, of in told] == [180] * len(told)
    done = [at for at, _ in told]
    assert done == sorted(done)
    assert done[-1] == 180


def test_a_certificate_holds_for_the_right_class_within_its_radius():
    found = Certificate(torch.tensor([1, 1, ABSTAINED]), torch.tensor([0.5, 0.2, 0.0]), torch.zeros(3))
    assert found.holds(torch.tensor([1, 1, 1]), 0.3).tolist() == [True, False, False]
    assert found.holds(torch.tensor([0, 1, 2]), 0.0).tolist() == [False, True, False]


def test_as_a_module_it_is_the_logarithm_of_the_mean_probability():
    model, x = linear(classes=3), images(2)
    smoothed = Smoothed(model, sigma=0.3, draws=5)
    torch.manual_seed(0)
    out = smoothed(x)
    torch.manual_seed(0)
    noise = torch.randn(10, 1, 3, 4, dtype=torch.float64).view(2, 5, 1, 3, 4)
    expected = torch.stack([model(image + 0.3 * own).softmax(1).mean(0) for image, own in zip(x, noise, strict=True)])
    assert torch.allclose(out.exp(), expected)
    assert out.dtype == torch.float64
    grown = x.requires_grad_()
    (grad,) = torch.autograd.grad(smoothed(grown)[:, 0].sum(), grown)
    assert grad.flatten(1).any(1).all()


def test_an_attack_goes_through_it_and_stays_beyond_the_radius():
    """No L2 change within the radius moves the smoothed class, the best attack's neither."""
    model, x = linear(), images(8)
    smoothed = Smoothed(model, sigma=0.5, draws=32)
    found = smoothed.certify(x, n=2000)
    keep = found.radius > 0.1
    x, classes, radius = x[keep], found.classes[keep], found.radius[keep]
    assert len(x) > 2
    x_adv = pgd(L2(radius.to(x.dtype)), steps=20)(smoothed, x, classes).x
    assert ((x_adv - x).flatten(1).norm(dim=1) > 0.5 * radius).any()
    again = smoothed.predict(x_adv, n=2000)
    assert ((again == classes) | (again == ABSTAINED)).all()
    with Victim(smoothed) as victim:
        assert victim.logits(x, classes).shape == (len(x), 2)


def test_a_purifier_in_front_gets_its_copies_clipped():
    pipeline = nn.Sequential(UNetPurifier(width=4, code=8), CNN(width=4)).eval()
    x = images(2, (1, 8, 8)).float()
    with pytest.raises(InputError, match=r"images in \[0, 1\]"):
        Smoothed(pipeline, sigma=0.5)(x)
    smoothed = Smoothed(pipeline, sigma=0.5, clip=True)
    assert torch.isfinite(smoothed(x)).all()
    assert smoothed.certify(x, n=20, n0=5).classes.shape == (2,)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf, "much"])
def test_a_sigma_that_is_none_is_one_error(sigma):
    with pytest.raises(InputError, match="expected sigma as a standard deviation > 0"):
        Smoothed(linear(), sigma)


def test_other_wrong_numbers_are_one_error():
    smoothed = Smoothed(linear(), 0.5)
    for settings, told in (
        ({"n": 0}, "expected n as a whole number"),
        ({"n0": 1.5}, "expected n0 as a whole number"),
        ({"batch": 0}, "expected batch"),
        ({"alpha": 0.0}, "expected alpha as a chance"),
        ({"alpha": 1.0}, "expected alpha as a chance"),
        ({"indices": torch.arange(3)}, "expected 2 indices"),
    ):
        with pytest.raises(InputError, match=told):
            smoothed.certify(images(2), **settings)
    with pytest.raises(InputError, match="draws"):
        Smoothed(linear(), 0.5, draws=0)
    with pytest.raises(InputError, match="evaluation mode"):
        Smoothed(linear().train(), 0.5).predict(images(2))
