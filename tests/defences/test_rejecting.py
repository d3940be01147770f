"""A classifier that abstains: its last logit leads exactly above the threshold, and its gradient is of use."""

import pytest
import torch
from torch import nn

from steelman.attacks import pgd
from steelman.defences import ABSTAINED, detectors, reject, rejecting
from steelman.errors import InputError
from steelman.evaluation import measure
from steelman.models import CNN
from steelman.norms import Linf
from steelman.victim import abstains


class Mean(nn.Module):
    """Suspicious of light images."""

    name = "mean"

    def __init__(self):
        super().__init__()
        self.settings, self.watched = {}, detectors.Watched()

    def score(self, x):
        return x.flatten(1).mean(1)


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CNN(1, 3, width=4).eval()


def images(n=100):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.5])
def test_it_loses_that_share_of_clean_images_and_abstains_exactly_above_the_threshold(model, fpr):
    x = images()
    made = reject(Mean(), model, fpr, validation=x)
    with torch.no_grad():
        logits = made(x)
        above = Mean().score(x).double() > made.threshold
        assert logits.shape == (100, 4)
        assert torch.equal(logits[:, :3], model(x))
        assert int(above.sum()) == round(100 * fpr)
        assert torch.equal(logits.argmax(1) == 3, above)
        assert torch.equal((logits[:, 3] > logits[:, :3].amax(1)), above)
        assert torch.equal(made.predict(x), torch.where(above, -1, model(x).argmax(1)))


def test_a_score_at_the_threshold_and_one_beside_it_are_decided(model):
    x = images(3)
    made = reject(Mean(), model, 0.5, validation=x)
    score = Mean().score(x[:1]).double()
    for shift, abstained in ((0.0, False), (1e-12, True), (-1e-12, False)):
        made.gate.threshold = score[0] - shift
        with torch.no_grad():
            logits = made(x[:1])
        assert bool(logits[0, 3] > logits[0, :3].max()) == abstained
        assert bool(logits[0, 3] < logits[0, :3].max()) != abstained


def test_its_gradient_leads_through_both(model):
    x = images(4).requires_grad_()
    made = reject(Mean(), model, validation=images())
    last = made(x)[:, 3].sum()
    (found,) = torch.autograd.grad(last, x)
    top = model(x).amax(1).sum() + (Mean().score(x) / made.gate.scale.float()).sum()
    (expected,) = torch.autograd.grad(top, x)
    assert torch.allclose(found, expected, atol=1e-6)


def test_victims_know_that_it_abstains_and_attacks_go_through_it(model):
    x = images(20)
    made = reject(Mean(), model, 0.3, validation=images())
    y = model(x).argmax(1)
    assert abstains(made)
    assert abstains(nn.Sequential(nn.Identity(), made))
    clean = measure.right(made, x, y)
    assert torch.equal(clean, made.predict(x) == y)
    found = pgd(Linf(0.5), steps=5)(made, x, y)
    said = made.predict(found.x)
    assert torch.equal(found.broken, (said != y) & (said != ABSTAINED))


def test_it_survives_a_file(model, tmp_path):
    x, y = images(60), torch.arange(60) % 3
    detector = detectors.KernelDensity(model, each=10).fit(x, y)
    made = reject(detector, model, 0.1, validation=images())
    path = tmp_path / "rejecting.safetensors"
    made.save(path, (1, 8, 8))
    again = rejecting.load(path, model)
    with torch.no_grad():
        assert torch.equal(again(x), made(x))
    assert again.threshold == made.threshold
    with pytest.raises(InputError, match="expected the model around which"):
        rejecting.load(path, CNN(1, 3, width=5).eval())
    detectors.save(detector, path, (1, 8, 8))
    with pytest.raises(InputError, match="expected a rejecting defence"):
        rejecting.load(path, model)


def test_bad_input_is_one_error(model):
    with pytest.raises(InputError, match="clean validation images"):
        reject(Mean(), model, validation=images()[:0])
    for fpr in (0.0, 1.0, 1.5):
        with pytest.raises(InputError, match="expected fpr"):
            reject(Mean(), model, fpr, validation=images())
    with pytest.raises(InputError, match="before fitting"):
        reject(detectors.KernelDensity(model), model, validation=images())
