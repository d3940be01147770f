"""GeoDA against a loop written from its paper, on linear models, beside ART, and on bad input."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from steelman.attacks import geoda
from steelman.attacks.corruptions.frequencies import cosines
from steelman.attacks.decision_based.geoda import farthest, plan
from steelman.errors import InputError
from steelman.norms import L0, L1, L2, Linf
from steelman.streams import Streams
from steelman.threat import Threat

from .conformance import Network, images
from .test_hopskipjump import linear, subject  # noqa: F401
from .test_peers import peer
from .test_reference_loops import Recorder


def test_the_first_normal_is_that_of_the_paper():
    """Rahmati et al. 2020, eq. 8 and algorithm 1: probes at the boundary vote, then the ray from the clean image."""
    model = Network((12,)).eval()
    x, _, _ = images(model, 5, (12,))
    y = model(x).argmax(1)
    begin = x[(y != y[0]).nonzero()[0, 0]]
    recorder = Recorder(model)
    geoda(L2(), queries=2000)(recorder, x[:1], y[:1], begin=begin[None])
    shown = torch.cat(recorder.shown)
    number, stream = plan(2000, 0.6)[0], Streams.of(0, torch.tensor([0])).derive("probe").derive(1)
    noise = torch.cat([stream.derive(torch.tensor([i])).normal(x[:1]) for i in range(number)])
    low, high, first = 0.0, 1.0, 2
    within = 1e-4 / float((begin - x[0]).norm())
    while high - low > within * high:
        middle = (low + high) / 2
        assert torch.allclose(shown[first], x[0] + middle * (begin - x[0]))
        low, high = (low, middle) if model(shown[first][None]).argmax() != y[0] else (middle, high)
        first += 1
    start = x[0] + high * (begin - x[0])
    expected = (start + 2e-4 * noise).clamp(0, 1)
    assert torch.allclose(shown[first : first + number], expected, rtol=0, atol=1e-12)
    sign = torch.where(model(expected).argmax(1) != y[0], 1.0, -1.0).double()
    normal = (sign[:, None] * noise).mean(0)
    ray = (x[0] + (start - x[0]).norm() * normal / normal.norm()).clamp(0, 1)
    assert torch.allclose(shown[first + number], ray, rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", [L2, Linf, L1])
def test_on_a_linear_model_it_finds_the_smallest_change(norm):
    model, x, y, slope, gap = linear()
    wide = Threat(norm(), low=-9.0, high=10.0)
    result = geoda(wide, queries=2500)(model, x, y)
    assert result.broken.all()
    least = gap / slope.norm(p={L2: 2, Linf: 1, L1: torch.inf}[norm])
    assert (result.distance >= least * (1 - 1e-9)).all()
    assert (result.distance <= 1.05 * least).all()


def test_later_rounds_have_the_papers_share_of_the_probes():
    numbers = plan(2000, 0.6)
    assert 50 <= numbers[0] <= 80
    for before, after in pairwise(numbers[:-1]):
        assert after / before == pytest.approx(0.6 ** (-2 / 3), rel=0.03)
    assert plan(2, 0.6)
    assert plan(60, 0.6)


def test_the_cosines_are_orthonormal_and_the_lowest():
    like = torch.zeros(1, dtype=torch.float64)
    basis = cosines(28, 9, like)
    assert torch.allclose(basis.T @ basis, torch.eye(9).double())
    assert torch.allclose(basis[:, 0], torch.full((28,), 28**-0.5).double())
    crossings = (basis[1:] * basis[:-1] < 0).sum(0)
    assert crossings.tolist() == list(range(9))
    assert cosines(4, 9, like).shape == (4, 4)


def test_a_sparse_move_fills_the_largest_entries_to_the_edge():
    clean = torch.tensor([[0.2, 0.9, 0.5, 0.4]])
    normal = torch.tensor([[1.0, 3.0, -2.0, 0.0]])
    for radius, expected in [(0.05, [0.2, 0.95, 0.5, 0.4]), (0.3, [0.2, 1.0, 0.3, 0.4]), (9.0, [1.0, 1.0, 0.0, 0.4])]:
        moved = farthest(Threat(L1()), clean, normal, torch.tensor([radius]))
        assert torch.allclose(moved, torch.tensor([expected]))
    open_ = Threat(L1(), low=-float("inf"), high=float("inf"))
    assert torch.allclose(farthest(open_, clean, normal, torch.tensor([2.0])), torch.tensor([[0.2, 2.9, 0.5, 0.4]]))


def test_a_zero_normal_stays_where_it_is():
    clean = torch.rand(2, 5)
    for norm in (L2, Linf, L1):
        assert torch.equal(farthest(Threat(norm()), clean, torch.zeros(2, 5), torch.ones(2)), clean)


@pytest.mark.parametrize("queries", [2, 3, 10, 50, 333])
def test_no_budget_is_exceeded(queries):
    model = Network()
    x, y, _ = images(model)
    for norm in (L2(), Linf(), L1()):
        assert (geoda(norm, queries=queries)(model, x, y).forwards <= queries).all()


def test_a_subspace_finds_as_much():
    model = Network((1, 4, 3))
    x, y, _ = images(model)
    assert geoda(L2(), queries=300, subspace=2)(model, x, y).broken.all()
    assert torch.equal(
        geoda(L2(), queries=300, subspace=9)(model, x, y).broken, geoda(L2(), queries=300)(model, x, y).broken
    )


def test_bad_settings_are_errors():
    with pytest.raises(InputError, match="L2 or Linf or L1"):
        geoda(L0())
    for bad in ({"queries": 1}, {"sigma": 0.0}, {"ratio": 1.0}, {"ratio": 0.0}, {"subspace": 0}):
        with pytest.raises(InputError, match="expected"):
            geoda(L2(), **bad)
    flat = Network((12,))
    with pytest.raises(InputError, match="expected images for a subspace"):
        geoda(L2(), subspace=2)(flat, *images(flat, 8, (12,))[:2])


def test_art_does_not_come_nearer(subject, monkeypatch, tmp_path):  # noqa: F811
    peer("art")
    warnings.simplefilter("ignore")
    from art.attacks.evasion import GeoDA
    from art.estimators.classification import PyTorchClassifier

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(np, "mat", np.asmatrix, raising=False)
    model, x, y, _ = subject
    classifier = PyTorchClassifier(
        nn.Sequential(Float(), model),
        nn.CrossEntropyLoss(),
        input_shape=(1, 8, 8),
        nb_classes=5,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = GeoDA(classifier, max_iter=1000, sub_dim=8, verbose=False)
    theirs = torch.from_numpy(attack.generate(x[:6].numpy(), y[:6].numpy()))
    ours = geoda(L2(), queries=1000)(model, x[:6], y[:6])
    assert ours.broken.all()
    assert ours.distance.median() <= (theirs - x[:6]).flatten(1).norm(dim=1).median()


class Float(nn.Module):
    """Takes the double precision that ART makes of images."""

    def forward(self, x):
        return x.float()
