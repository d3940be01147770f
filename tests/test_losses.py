"""What an attacker ascends, at any scale and number of classes."""

import pytest
import torch
from torch.nn import functional as F

from steelman.errors import InputError
from steelman.losses import cross_entropy, dlr, margin, negative_logit

LOSSES = [margin, cross_entropy, negative_logit, dlr]


def answers(n, classes, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (n,), generator=generator)


def slope(loss, logits, y):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(logits, y).sum(), logits)[0]


@pytest.mark.parametrize("classes", [2, 3, 4, 1000])
def test_a_margin_is_positive_just_where_the_sample_is_misclassified(classes):
    logits, y = answers(50, classes)
    found = margin(logits, y)
    assert torch.equal(found > 0, logits.argmax(1) != y)
    for row, label, value in zip(logits.tolist(), y.tolist(), found.tolist(), strict=True):
        assert value == max(z for k, z in enumerate(row) if k != label) - row[label]


@pytest.mark.parametrize("classes", [2, 3, 4, 1000])
def test_cross_entropy_is_the_usual_one_where_that_is_exact(classes):
    logits, y = answers(50, classes)
    assert torch.allclose(cross_entropy(logits, y), F.cross_entropy(logits, y, reduction="none"), rtol=1e-7, atol=1e-12)
    usual = slope(lambda z, y: F.cross_entropy(z, y, reduction="none"), logits, y)
    assert torch.allclose(slope(cross_entropy, logits, y), usual, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("lead", [40.0, 90.0, 4e4])
def test_cross_entropy_keeps_a_gradient_where_the_usual_one_has_none(lead):
    logits, y = torch.tensor([[lead, 1.0, -3.0]]), torch.tensor([0])
    assert not slope(lambda z, y: F.cross_entropy(z, y, reduction="none"), logits, y)[0, 0]
    grad = slope(cross_entropy, logits, y)
    assert grad[0, 0] < 0
    assert grad[0, 1] > grad[0, 2] > 0
    assert torch.allclose(grad / grad.abs().max(), torch.tensor([-1, 0.982, 0.018]), atol=1e-3)
    assert float(cross_entropy(logits, y)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e3, 1e30])
def test_no_scale_gives_nan(loss, scale):
    logits, y = answers(20, 5, scale=scale)
    logits = torch.cat([logits.float(), torch.zeros(2, 5)])
    y = torch.cat([y, torch.tensor([0, 4])])
    assert torch.isfinite(loss(logits, y)).all()
    assert not slope(loss, logits, y).isnan().any()


@pytest.mark.parametrize("loss", [margin, cross_entropy, negative_logit])
def test_two_classes_are_enough(loss):
    logits, y = answers(20, 2)
    assert torch.isfinite(loss(logits, y)).all()
    grad = slope(loss, logits, y)
    assert torch.isfinite(grad).all()
    assert (grad.gather(1, y[:, None]) < 0).all()


@pytest.mark.parametrize("classes", [3, 4, 1000])
def test_dlr_is_the_papers_and_blind_to_shift_and_scale(classes):
    logits, y = answers(30, classes)
    found = dlr(logits, y)
    for row, label, value in zip(logits.tolist(), y.tolist(), found.tolist(), strict=True):
        ranked = sorted(row, reverse=True)
        other = max(z for k, z in enumerate(row) if k != label)
        assert value == pytest.approx(-(row[label] - other) / (ranked[0] - ranked[2]))
    assert torch.allclose(dlr(1000 * logits - 17, y), found)
    assert torch.equal(found > 0, logits.argmax(1) != y)


def test_dlr_of_two_classes_is_an_error_with_a_way_out():
    with pytest.raises(InputError, match="at least 3 classes for DLR, got 2: use margin"):
        dlr(torch.zeros(1, 2), torch.tensor([0]))


def test_the_negative_logit_is_that_of_the_label():
    logits, y = answers(10, 4)
    assert torch.equal(negative_logit(logits, y), -logits[torch.arange(10), y])


@pytest.mark.parametrize("loss", LOSSES)
def test_each_sample_is_on_its_own(loss):
    logits, y = answers(10, 4)
    whole = loss(logits, y)
    assert whole.shape == (10,)
    assert torch.allclose(whole, torch.cat([loss(logits[i : i + 1], y[i : i + 1]) for i in range(10)]))
