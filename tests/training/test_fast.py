"""One step from noise, and the watch over what it may do to a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import pgd
from steelman.data import Data, Images
from steelman.errors import InputError
from steelman.norms import L0, L2, Linf
from steelman.training import Epoch, Recipe, cost, fit, robust
from steelman.training.objectives import Fast, catalogue, fast
from steelman.training.objectives.collapse import collapsed


def images(n: int = 48, name: str = "noise") -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 3, ("a", "b", "c"), name)


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


class Watched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3))
        self.seen: list[tuple[bool, torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append((self.training, x.detach()))
        out: torch.Tensor = self.layers(x)
        return out


def gradient(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), y), x)[0]


@pytest.mark.parametrize(
    ("settings", "k", "alpha"), [({}, 2.0, 1.0), ({"noise": 1, "size": 1.25, "clip": True}, 1, 1.25)]
)
def test_the_step_is_that_of_the_papers(settings: dict[str, float], k: float, alpha: float) -> None:
    model, (x, y), eps = Watched().train(), (images().x, images().y), 0.1
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(0)
    moved, _ = fast(Linf(eps), **settings).attacked(model, (x, y), 1.0)
    ((training, start),) = model.seen
    assert training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    noise = start - x
    assert noise.abs().max() <= k * eps + 1e-6
    assert noise.abs().max() > 0.95 * k * eps
    inner = (x > k * eps) & (x < 1 - k * eps)
    assert float(noise[inner].abs().mean()) == pytest.approx(k * eps / 2, rel=0.05)
    expected = start + alpha * eps * gradient(model, start, y).sign()
    if settings:
        expected = x + (expected - x).clamp(-eps, eps)
    assert torch.allclose(moved, expected.clamp(0, 1), atol=1e-6)
    assert bool((moved - x).abs().max() > 2.5 * eps) is not bool(settings)


def test_the_loss_is_cross_entropy_after_the_step_and_costs_two() -> None:
    model, (x, y) = linear(), (images().x, images().y)
    objective = fast(Linf(0.1))
    torch.manual_seed(3)
    moved, _ = objective.attacked(model, (x, y), 1.0)
    torch.manual_seed(3)
    loss = objective.loss(model, (x, y), 1.0)
    assert torch.equal(loss, F.cross_entropy(model(moved), y))
    assert loss > F.cross_entropy(model(x), y)
    assert cost(model, objective, (x, y), Recipe(epochs=1, precision="fp32")) == 2


def test_eps_rises_over_the_ramp_and_other_balls_serve() -> None:
    model, (x, y) = linear(), (images().x, images().y)
    objective = fast(Linf(0.1), noise=0, ramp=0.5)
    for done, eps in ((0.0, 0.0), (0.25, 0.05), (0.5, 0.1)):
        moved, _ = objective.attacked(model, (x, y), done)
        assert float((moved - x).abs().max()) == pytest.approx(eps, abs=1e-6)
    moved, _ = fast(L2(0.5), noise=1, clip=True).attacked(model, (x, y), 1.0)
    assert 0.3 < (moved - x).flatten(1).norm(dim=1).max() <= 0.5 + 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"noise": -1}, "noise"), ({"size": 0}, "size"), ({"ramp": 2}, "ramp as a share")],
)
def test_wrong_settings_are_one_clear_error(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=f"expected {message}"):
        fast(Linf(0.1), **settings)  # type: ignore[arg-type]


def test_a_norm_without_a_steepest_move_is_an_error() -> None:
    with pytest.raises(InputError, match="L0"):
        fast(L0(3))


def history(val: list[float], step: list[float]) -> list[Epoch]:
    return [Epoch(at + 1, 1.0, {"h": a, "s": b}, 0.0) for at, (a, b) in enumerate(zip(val, step, strict=True))]


@pytest.mark.parametrize(
    ("val", "step", "epochs"),
    [
        ([0.2, 0.4, 0.45, 0.02, 0.0], [0.3, 0.5, 0.6, 0.9, 0.95], [4]),
        ([0.2, 0.4, 0.45, 0.47, 0.48], [0.3, 0.5, 0.6, 0.6, 0.62], []),
        ([0.0, 0.05, 0.3, 0.4, 0.45], [0.5, 0.5, 0.5, 0.5, 0.55], []),
        ([0.4, 0.1, 0.3, 0.4, 0.45], [0.5, 0.1, 0.5, 0.5, 0.55], []),
        ([0.4, 0.0, 0.4, 0.0, 0.0], [0.5, 0.9, 0.5, 0.9, 0.9], [2]),
    ],
)
def test_a_collapse_is_told_once_and_health_never(val: list[float], step: list[float], epochs: list[int]) -> None:
    epochs_of = history(val, step)
    told = {at: collapsed(epochs_of[:at], "h", "s") for at in range(len(val) + 1)}
    assert [at for at, said in told.items() if said] == epochs
    for at in epochs:
        assert f"in epoch {at}:" in str(told[at])


class Scripted(Fast):
    """Fast, with the validation figures of a network that collapses in its second epoch."""

    def validate(self, model: nn.Module, validation: object) -> dict[str, float]:
        SEEN.append([tensor.clone() for tensor in model.state_dict().values()])
        own = (0.5, 0.6) if len(SEEN) == 1 else (0.01, 0.9)
        return {"pgd 0.1": own[0], "clean": 0.9, "one step 0.1": own[1]}


SEEN: list[list[torch.Tensor]] = []


def test_a_collapse_is_a_warning_of_the_fit_and_the_epoch_before_it_is_kept() -> None:
    SEEN.clear()
    objective = Scripted(threat=fast(Linf(0.1)).threat, val=pgd(Linf(0.1)))
    model = linear()
    with pytest.warns(UserWarning, match="catastrophic overfitting in epoch 2") as caught:
        fit(model, objective, images(), images(), Recipe(epochs=3, batch_size=16, precision="fp32"))
    assert len(caught) == 1
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), SEEN[0], strict=True))


def test_a_robust_training_by_its_name_is_judged_by_pgd_first_and_by_its_step_last() -> None:
    assert {"fast", "free"} <= catalogue.keys()
    data = Data("noise", images(name="noise train"), images(name="noise test"))
    recipe = Recipe(epochs=2, batch_size=16, rate=0.01, precision="fp32")
    made = robust(linear(), data, name="mine", threat=Linf(0.05), recipe=recipe, objective="fast", size=1.25)
    assert list(made.settings["validation"]) == ["pgd 0.05", "clean", "one step 0.05"]
    assert "size=1.25" in made.settings["objective"]
    assert made.settings["cost"] == 2
    assert "warnings" not in made.settings
