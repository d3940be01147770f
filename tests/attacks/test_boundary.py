"""The Boundary Attack's walk: its geometry, its step sizes, what it finds, and bad input."""

import pytest
import torch

from steelman.attacks import boundary
from steelman.attacks.decision_based.boundary import Record
from steelman.errors import InputError
from steelman.norms import L2, Linf
from steelman.threat import Threat

from .conformance import Network, images
from .test_hopskipjump import linear, subject  # noqa: F401
from .test_peers import peer
from .test_reference_loops import Recorder


def test_its_steps_are_those_of_the_paper():
    """Brendel et al. 2018, section 2.2: at random along the sphere, by a share of the distance, then inwards."""
    model, x, y, slope, gap = linear()
    recorder = Recorder(model)
    clean, wide = x[:1], Threat(L2(), low=-9.0, high=10.0)
    begin = clean + 4 * (gap[0] / slope.norm() ** 2) * slope * (-1 if y[0] == 0 else 1)
    boundary(wide, queries=40, every=2, aside=0.1, inwards=0.02)(recorder, clean, y[:1], begin=begin)
    shown = torch.cat(recorder.shown)
    broken = model(shown).argmax(1) != y[0]
    first = 2 + 12  # the clean image, where it begins, and twelve bisections down to a thousandth
    at = shown[:first][broken[:first]][-1]
    for i in range(first, len(shown) - 2, 3):
        for candidate, hit in ((shown[i], broken[i]), (shown[i + 1], broken[i + 1])):
            length, reach = (at - clean[0]).norm(), (candidate - clean[0]).norm()
            assert torch.isclose(reach, 0.98 * length)
            turn = (at - clean[0]) @ (candidate - clean[0]) / (length * reach)
            assert torch.isclose(turn, torch.tensor(1 / 1.01**0.5).double())
            if hit:
                at = candidate
        assert torch.isclose((shown[i + 2] - clean[0]).norm(), length)


def test_steps_are_judged_when_the_record_is_full():
    record = Record.empty(4, torch.zeros(3))
    verdicts = []
    for hit in ([True, False, True], [True, False, False], [True, False, True], [True, False, False]):
        verdict, record = record.add(torch.tensor(hit)).judged(few=0.2, many=0.5)
        verdicts.append(verdict.tolist())
    assert verdicts == [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, -1, 0]]
    assert record.seen.tolist() == [0, 0, 4]


@pytest.mark.parametrize("targeted", [False, True])
def test_on_a_linear_model_it_finds_the_smallest_change(targeted):
    model, x, y, slope, gap = linear()
    wide = Threat(L2(), low=-9.0, high=10.0)
    result = boundary(wide, queries=1000, targeted=targeted)(model, x, 1 - y if targeted else y)
    assert result.broken.all()
    least = gap / slope.norm()
    assert (result.distance >= least * (1 - 1e-9)).all()
    assert (result.distance <= 1.05 * least).all()


@pytest.mark.parametrize("queries", [2, 3, 10, 51, 120])
def test_no_budget_is_exceeded(queries):
    model = Network()
    x, y, _ = images(model)
    result = boundary(L2(), queries=queries)(model, x, y)
    assert (result.forwards <= queries).all()


def test_what_has_converged_costs_no_more():
    model = Network()
    x, y, _ = images(model)
    result = boundary(L2(), queries=600, converged=0.0099)(model, x, y)
    assert result.broken.all()
    assert (result.forwards < 600).all()


def test_bad_settings_and_starts_are_errors():
    with pytest.raises(InputError, match="expected L2 for boundary"):
        boundary(Linf())
    bad = [{"queries": 1}, {"aside": 0.0}, {"inwards": 1.0}, {"factor": 1.0}, {"every": 0}, {"memory": 0}]
    for settings in [*bad, {"converged": 0.0}]:
        with pytest.raises(InputError, match="expected"):
            boundary(L2(), **settings)
    model = Network()
    x, y, _ = images(model, targeted=True)
    with pytest.raises(InputError, match="as the wanted class, got 6 of 6"):
        boundary(L2(), queries=50, targeted=True)(model, x, y, begin=(x + 1e-9).clamp(0, 1))


def test_no_peer_comes_nearer_with_as_many_queries(subject):  # noqa: F811
    foolbox = peer("foolbox")
    model, x, y, begin = subject
    recorder = Recorder(model).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wrapped = foolbox.PyTorchModel(recorder, bounds=(0, 1), device="cpu")
        theirs, _, _ = foolbox.attacks.BoundaryAttack(steps=300)(wrapped, x, y, epsilons=None, starting_points=begin)
    queries = sum(map(len, recorder.shown)) // len(x)
    ours = boundary(L2(), queries=queries)(model, x, y, begin=begin)
    assert ours.broken.all()
    assert ours.distance.median() <= (theirs - x).flatten(1).norm(dim=1).median()
