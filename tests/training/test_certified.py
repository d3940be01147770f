"""Training on bounds: the loss written out on a linear network, its schedule, and that it certifies."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman import bounds
from steelman.data import Images
from steelman.defences import CertifiedAutoencoder
from steelman.errors import InputError
from steelman.norms import Linf
from steelman.threat import Threat
from steelman.training import CertifiedLoss, Recipe, fit
from steelman.training.objectives import crown_ibp, ibp
from steelman.training.purifiers import certify_prototypes

EPS = 0.1


def batch(n=12):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


def linear():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def worst(model, x, y, eps):
    """Each logit less the true one, at the worst image of the ball in [0, 1], in closed form."""
    rows = model[1].weight[None] - model[1].weight[y][:, None]
    shift = model[1].bias[None] - model[1].bias[y][:, None]
    low, high = (x - eps).clamp(0, 1).flatten(1)[:, None], (x + eps).clamp(0, 1).flatten(1)[:, None]
    return (rows.clamp_min(0) * high + rows.clamp_max(0) * low).sum(2) + shift


@pytest.mark.parametrize("made", [ibp, crown_ibp])
def test_the_loss_is_that_of_clean_images_and_of_the_worst_logits(made):
    model, (x, y) = linear(), batch()
    objective = made(Linf(EPS), clean=0.25, reach=1.5)
    expected = 0.25 * F.cross_entropy(model(x), y) + 0.75 * F.cross_entropy(worst(model, x, y, 1.5 * EPS), y)
    assert torch.allclose(objective.loss(model, (x, y), 1.0), expected, rtol=1e-4)


def test_eps_and_the_weight_of_bounds_rise_together():
    model, (x, y) = linear(), batch()
    objective = ibp(Linf(EPS), clean=0.0, rise=0.4)
    assert torch.allclose(objective.loss(model, (x, y), 0.05), F.cross_entropy(model(x), y))
    half = 0.5 * F.cross_entropy(model(x), y) + 0.5 * F.cross_entropy(worst(model, x, y, EPS / 2), y)
    assert torch.allclose(objective.loss(model, (x, y), 0.25), half, rtol=1e-4)
    assert torch.allclose(objective.loss(model, (x, y), 0.45), F.cross_entropy(worst(model, x, y, EPS), y), rtol=1e-4)


def test_the_mode_of_the_network_stays_as_it_was():
    model, examples = linear().train(), batch()
    ibp(Linf(EPS)).loss(model, examples, 1.0)
    assert model.training


def test_a_network_trained_on_bounds_certifies_where_one_trained_on_labels_does_not():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    middle = 0.5 + 0.25 * (2 * y - 1)[:, None, None, None]
    x = (middle + 0.1 * torch.randn(200, 1, 4, 4, generator=generator)).clamp(0, 1)
    shares = []
    for clean in (1.0, 0.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
        images = Images(x, y, ("dark", "bright"), "blobs")
        recipe = Recipe(epochs=30, rate=0.02, precision="fp32", batch_size=50)
        fit(model, CertifiedLoss(threat=ibp(Linf(0.2)).threat, clean=clean), images, images, recipe)
        shares.append(bounds.certify(model, x, y, 0.2, methods=("ibp",)).share)
    assert shares[1] > shares[0] + 0.2
    assert shares[1] > 0.9


@pytest.mark.parametrize("wrong", [{"reach": 0.0}, {"clean": 1.5}, {"rise": -1.0}, {"method": "crown"}])
def test_settings_that_are_none_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        CertifiedLoss(threat=ibp(Linf(EPS)).threat, **wrong)


def test_steadied_drawings_are_read_with_a_larger_proof_and_stay_near():
    torch.manual_seed(0)
    purifier = CertifiedAutoencoder(side=4, width=2, hidden=4, classes=3, trace=0.01).eval()
    purifier.examples.copy_(torch.rand(3, 1, 4, 4))
    classifier, begun = linear().eval().requires_grad_(False), purifier.examples.clone()

    def proved():
        told, trace = purifier.sure()
        drawing = nn.Sequential(nn.Linear(3, 16, bias=False), nn.Unflatten(1, (1, 4, 4)), classifier).eval()
        drawing[0].weight.data = purifier.examples.flatten(1).T
        return -bounds.margins(drawing, told, torch.arange(3), Threat(Linf(trace)), "ibp")

    before = proved()
    certify_prototypes(purifier, classifier, far=0.1)
    after = proved()
    assert (after > before).all()
    # of a linear classifier, every pixel goes as far as it may towards the class that it speaks for
    assert float((purifier.examples - begun).abs().max()) <= 0.1 + 1e-6
    rows = classifier[1].weight
    sure = (rows[0] > rows[1]) & (rows[0] > rows[2])
    expected = (begun[0].flatten()[sure] + 0.1).clamp(0, 1)
    torch.testing.assert_close(purifier.examples[0].flatten()[sure], expected, atol=1e-3, rtol=0)


def test_a_classifier_that_cannot_be_bounded_is_refused():
    purifier = CertifiedAutoencoder(side=4, width=2, hidden=4, classes=3)
    with pytest.raises(InputError, match="expected an operation with a bound"):
        certify_prototypes(purifier, nn.Sequential(linear(), nn.Softmax(1)).eval())
