"""Each detector beside its formula, written from the paper a second time."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.defences import detectors
from steelman.defences.detectors import roc
from steelman.defences.detectors.features import features, layers_of
from steelman.defences.detectors.lid import dimension
from steelman.defences.detectors.logistic import Logistic
from steelman.defences.detectors.mahalanobis import Gaussians
from steelman.errors import InputError
from steelman.models import VGG16, LeNet


def test_features_are_means_over_places_and_the_code(scene):
    model = scene.classifier
    assert layers_of(model) == ("stem", "down1", "body1", "down2", "body2", "code")
    with torch.no_grad():
        logits, (stem, code) = features(model, ("stem", "code"), scene.x)
        assert torch.equal(logits, model(scene.x))
        assert torch.allclose(stem, model.stem(scene.x).mean((2, 3)), atol=1e-6)
        assert torch.allclose(model.head(code), logits)
    assert layers_of(nn.Sequential(nn.Flatten(), LeNet()))[-2:] == ("1.linear", "code")
    assert layers_of(VGG16(1, 10))[-1] == "code"
    with pytest.raises(InputError, match="linear layer"):
        layers_of(nn.Conv2d(1, 1, 1))


def test_squeezing_is_the_larger_l1_distance(scene):
    x = scene.attacked[:3]
    made = detectors.FeatureSqueezing(scene.classifier)
    with torch.no_grad():
        read = scene.classifier(x).softmax(1)
        squeezed = [scene.classifier(one(x)).softmax(1) for one in made.squeezers]
        for i in range(3):
            expected = max(float((read[i] - other[i]).abs().sum()) for other in squeezed)
            assert float(made.score(x)[i]) == pytest.approx(expected, abs=1e-5)


def test_reconstruction_and_divergence_are_magnet_s(scene, half):
    x = torch.full((1, 1, 8, 8), 0.8)
    assert float(detectors.ReconstructionError(half, p=1).score(x)) == pytest.approx(0.4)
    assert float(detectors.ReconstructionError(half, p=2).score(x)) == pytest.approx(0.16)
    with torch.no_grad():
        p, q = (scene.classifier(view).div(10).softmax(1)[0].double() for view in (x, x / 2))
        expected = sum(float((a * (a / ((a + b) / 2)).log()).sum()) for a, b in ((p, q), (q, p))) / 2
        found = detectors.ProbabilityDivergence(scene.classifier, half).score(x)
        assert float(found) == pytest.approx(expected, abs=1e-6)
        alike = detectors.ProbabilityDivergence(scene.classifier, nn.Identity())
        assert float(alike.score(x)) == pytest.approx(0, abs=1e-6)
        seen, purified = (scene.classifier(view).softmax(1)[0] for view in (x, x / 2))
        crossed = -sum(float(a) * math.log(float(b)) for a, b in zip(seen, purified, strict=True))
        assert float(detectors.Disagreement(scene.classifier, half).score(x)) == pytest.approx(crossed, rel=1e-4)
    for bad in (
        lambda: detectors.ReconstructionError(half, p=3),
        lambda: detectors.build("probability-divergence", scene.classifier, half, temperature=0),
    ):
        with pytest.raises(InputError, match="expected"):
            bad()


def test_mahalanobis_is_the_distance_from_the_nearest_mean():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    found = torch.randn(300, 4, generator=generator) @ torch.randn(4, 4, generator=generator) + 5 * y[:, None]
    made = Gaussians()
    made.fit(found, y)
    rows, labels = found.double().numpy(), y.numpy()
    means = np.stack([rows[labels == kind].mean(0) for kind in range(3)])
    spread = rows - means[labels]
    inverse = np.linalg.inv(spread.T @ spread / 300 + 1e-3 * np.diag(spread.T @ spread / 300).mean() * np.eye(4))
    for i in range(5):
        expected = min((rows[i] - mean) @ inverse @ (rows[i] - mean) for mean in means)
        assert float(made(found[i : i + 1])) == pytest.approx(expected, rel=1e-3)


def test_lid_is_minus_one_over_the_mean_log_ratio_and_finds_the_dimension():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3, 6, generator=generator)
    reference = torch.randn(50, 6, generator=generator)
    for i, value in enumerate(dimension(points, reference, 10)):
        r = sorted(float((points[i] - other).norm()) for other in reference)[:10]
        assert float(value) == pytest.approx(-1 / (sum(math.log(one / r[-1]) for one in r) / 10), rel=1e-4)
    plane = torch.rand(4000, 2, generator=generator) @ torch.randn(2, 8, generator=generator)
    assert float(dimension(plane[:200], plane[200:], 40).mean()) == pytest.approx(2, abs=0.3)


def test_kernel_density_is_that_of_the_predicted_class(scene):
    made = detectors.KernelDensity(scene.classifier, bandwidth=0.7, each=8).fit(scene.x, scene.y)
    with torch.no_grad():
        logits, (code,) = features(scene.classifier, ("code",), scene.attacked[:4])
        _, (known,) = features(scene.classifier, ("code",), scene.x)
        for i in range(4):
            own = known[scene.y == logits[i].argmax()][:8]
            density = sum(math.exp(-float((code[i] - one).square().sum()) / 0.49) for one in own) / 8
            assert float(made.score(scene.attacked[i : i + 1])) == pytest.approx(-math.log(density), abs=1e-4)


def test_logistic_regression_is_at_the_minimum_of_its_loss():
    generator = torch.Generator().manual_seed(0)
    clean, x_adv = (
        torch.randn(80, 2, generator=generator),
        torch.randn(40, 2, generator=generator) + torch.tensor([1.0, -1]),
    )
    made = Logistic()
    made.fit(clean, x_adv)
    point = torch.cat([made.weight, made.bias[None]]).double().requires_grad_()
    scaled = [((rows - made.mean) / made.scale).double() for rows in (clean, x_adv)]
    losses = [
        F.softplus(-sign * (rows @ point[:2] + point[2])).mean() for rows, sign in zip(scaled, (-1, 1), strict=True)
    ]
    (60 * sum(losses) + 0.5 * point[:2].square().sum()).backward()
    assert point.grad.abs().max() < 0.05
    assert made.weight[0] > 0 > made.weight[1]
    bound = Logistic(positive=True)
    bound.fit(clean, x_adv)
    assert bound.weight.min() == 0


def test_auc_and_threshold_count_ties_exactly():
    clean, x_adv = torch.tensor([0.0, 1, 1, 2]), torch.tensor([1.0, 2, 3])
    pairs = [(a > b) + 0.5 * (a == b) for a in x_adv.tolist() for b in clean.tolist()]
    assert roc.auc(clean, x_adv) == pytest.approx(sum(pairs) / 12)
    false, true = roc.curve(clean, x_adv)
    assert false.tolist() == pytest.approx([0, 0, 0.25, 0.75, 1])
    assert true.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    assert float(torch.trapezoid(true, false)) == pytest.approx(roc.auc(clean, x_adv))
    assert roc.threshold(clean, 0.25) == 1.5
    assert roc.threshold(clean, 0.5) == 1.5
    assert roc.threshold(clean, 0.75) == 0.5
    assert roc.threshold(clean, 0.05) > 2
    for n in (1, 19, 20, 21, 100):
        scores = torch.rand(n, generator=torch.Generator().manual_seed(n))
        assert int((scores.double() > roc.threshold(scores, 0.05)).sum()) == n // 20
    for fpr in (0, 1, -0.1, math.nan):
        with pytest.raises(InputError, match="expected fpr"):
            roc.threshold(clean, fpr)
    with pytest.raises(InputError, match="clean validation images"):
        roc.threshold(clean[:0], 0.05)


def test_combined_learns_which_member_to_believe(scene):
    class Says(nn.Module):
        name = "says"

        def __init__(self, sign):
            super().__init__()
            self.settings, self.watched, self.sign = {}, detectors.Watched(), sign

        def score(self, x):
            return self.sign * x.flatten(1).mean(1)

    made = detectors.Combined([Says(1.0), Says(-1.0)]).fit(0.2 * scene.x, scene.y, 0.5 + 0.5 * scene.x)
    assert made.weigh.weight[0] > 0
    assert made.weigh.weight[1] == 0
    assert roc.auc(made.score(0.2 * scene.x), made.score(0.5 + 0.5 * scene.x)) == 1
    with pytest.raises(InputError, match="at least one detector"):
        detectors.Combined([])
