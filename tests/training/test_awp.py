"""Options of the fit: adversarial weight perturbation, and averages of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import Last, pgd
from steelman.data import Images
from steelman.errors import InputError
from steelman.norms import Linf
from steelman.progress import Progress
from steelman.training import Adversarial, Classify, Recipe, fit
from steelman.training.awp import worsened
from steelman.training.objectives import fast, trades

PGD = pgd(Linf(0.1), steps=2).with_goal(Last())
RECIPE = Recipe(epochs=1, batch_size=24, optimiser="sgd", rate=0.1, momentum=0.0, schedule="constant", precision="fp32")


def images(n: int = 24) -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(n, 1, 4, 4, generator=generator), torch.arange(n) % 3, ("a", "b", "c"), "noise")


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def normed() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def copied(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_one_step_is_that_of_a_loop_written_from_the_paper() -> None:
    gamma, seen = 0.2, list[tuple[torch.Tensor, torch.Tensor]]()

    class Kept(Adversarial):
        def attacked(self, model, batch, done=1.0):  # type: ignore[no-untyped-def]
            made = super().attacked(model, batch, done)
            seen.append(made[1:])
            return made

    model = linear()
    fit(model, Kept(attack=PGD, val=PGD), images(), images(), Recipe(**{**vars(RECIPE), "awp": gamma}))
    ((x_adv, y),) = seen

    w, b = (parameter.detach().clone().requires_grad_() for parameter in linear().parameters())
    up = torch.autograd.grad(F.cross_entropy(x_adv.flatten(1) @ w.T + b, y), w)[0]
    v = gamma * w.norm() * up / up.norm()
    moved = (w + v).detach().requires_grad_()
    loss = F.cross_entropy(x_adv.flatten(1) @ moved.T + b, y)
    assert loss > F.cross_entropy(x_adv.flatten(1) @ w.T + b, y)
    down = torch.autograd.grad(loss, (moved, b))
    assert torch.allclose(model[1].weight, w - 0.1 * down[0], atol=1e-6)
    assert torch.allclose(model[1].bias, b - 0.1 * down[1], atol=1e-6)
    plain = linear()
    fit(plain, Adversarial(attack=PGD, val=PGD), images(), images(), RECIPE)
    assert not torch.allclose(model[1].weight, plain[1].weight, atol=1e-4)


def test_inside_every_layer_is_gamma_of_its_norm_away_and_after_it_as_before_to_the_bit() -> None:
    model, (x, y) = normed().train(), (images().x, images().y)

    def read() -> torch.Tensor:
        return F.cross_entropy(model(x), y)

    fresh = normed().train()
    fresh(x)
    wanted = copied(fresh)
    before = read().detach()
    model.load_state_dict(normed().state_dict())
    with worsened(model, read, 0.05):
        for (name, own), (_, first) in zip(model.named_parameters(), fresh.named_parameters(), strict=True):
            away = (own - first).detach().norm() / (first.detach().norm() if own.dim() > 1 else 1)
            assert float(away) == pytest.approx(0.05 if own.dim() > 1 else 0, rel=1e-4), name
        assert read() > before
    assert same(copied(model), wanted)
    with pytest.raises(ZeroDivisionError), worsened(model, read, 0.05):
        1 / 0  # noqa: B018
    assert same([*model.parameters()], [*fresh.parameters()])


@pytest.mark.parametrize("objective", [Adversarial(attack=PGD, val=PGD), trades(Linf(0.1), steps=2), fast(Linf(0.1))])
def test_every_objective_that_attacks_can_be_fitted_with_it_in_bf16_too(objective: Adversarial) -> None:
    ends = []
    for awp in (0.0, 0.1):
        model = normed()
        recipe = Recipe(epochs=2, batch_size=8, rate=0.01, precision="bf16", average=0.5, awp=awp)
        fit(model, objective, images(), images(), recipe)
        ends.append(copied(model))
    assert not same(*ends)
    assert all(tensor.isfinite().all() for tensor in ends[1])


def test_in_bf16_the_second_reading_is_that_of_the_moved_weights() -> None:
    losses: list[float] = []

    class Heard(Adversarial):
        def reading(self, model, made, done=1.0):  # type: ignore[no-untyped-def]
            loss = super().reading(model, made, done)
            losses.append(float(loss.detach()))
            return loss

    recipe = Recipe(epochs=1, batch_size=24, precision="bf16", awp=0.5)
    fit(linear(), Heard(attack=PGD, val=PGD), images(), images(), recipe)
    assert losses[1] > losses[0] + 0.01


def test_it_begins_after_its_share() -> None:
    ends = []
    for changes in ({}, {"awp": 0.1, "awp_after": 1.0}, {"awp": 0.1, "awp_after": 0.3}):
        model = linear()
        fit(model, fast(Linf(0.1)), images(), images(), Recipe(epochs=2, batch_size=8, precision="fp32", **changes))
        ends.append(copied(model))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


def test_what_attacks_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="expected an objective that attacks its images with awp, got Classify"):
        fit(linear(), Classify(), images(), images(), Recipe(epochs=1, awp=0.01))


class Weighed(Classify):
    """Notes the weights of every step and of what is judged."""

    def loss(self, model, batch, done=1.0):  # type: ignore[no-untyped-def]
        STEPS.append(model[1].weight.detach().clone())
        return super().loss(model, batch, done)


STEPS: list[torch.Tensor] = []


def test_swa_keeps_the_even_average_of_the_steps_since() -> None:
    STEPS.clear()
    recipe = Recipe(epochs=1, batch_size=4, rate=0.05, precision="fp32", swa_after=0.5)
    kept, last = linear(), linear()
    fit(last, Weighed(), images(), images(), Recipe(**{**vars(recipe), "swa_after": 1.0}))
    STEPS.clear()
    fit(kept, Weighed(), images(), images(), recipe)
    after = [*STEPS[1:], last[1].weight.detach()]
    assert len(after) == 6
    assert torch.allclose(kept[1].weight, torch.stack(after[3:]).mean(0), atol=1e-6)


def test_settled_statistics_are_those_of_the_averaged_weights() -> None:
    def fitted(settle: int, **changes: object) -> nn.Module:
        model = normed()
        recipe = Recipe(epochs=2, batch_size=8, rate=0.1, average=0.9, precision="fp32", settle=settle, **changes)  # type: ignore[arg-type]
        fit(model, Classify(), images(), images(), recipe)
        return model

    model, blended = fitted(3), fitted(0)
    inside = model[1](images().x.flatten(1))
    assert torch.allclose(model[2].running_mean, inside.mean(0), atol=1e-5)
    assert not torch.allclose(blended[2].running_mean, blended[1](images().x.flatten(1)).mean(0), atol=1e-2)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("step", [2, 3, 5])
def test_a_run_with_every_option_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path, step: int) -> None:
    def killer(now: Progress) -> None:
        if now.done == step:
            raise KilledError

    recipe = Recipe(epochs=2, batch_size=8, precision="fp32", swa_after=0.3, settle=2, awp=0.05, awp_after=0.2)
    whole, killed, fresh, place = normed(), normed(), normed(), tmp_path / "checkpoint"
    fit(whole, fast(Linf(0.1)), images(), images(), recipe)
    with pytest.raises(KilledError):
        fit(
            killed,
            fast(Linf(0.1)),
            images(),
            images(),
            recipe,
            checkpoint=place,
            progress=killer,
            save_every=0,
        )
    fit(fresh, fast(Linf(0.1)), images(), images(), recipe, checkpoint=place)
    assert same(copied(whole), copied(fresh))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"awp": -0.1}, "expected awp"),
        ({"awp": float("nan")}, "expected awp"),
        ({"awp_after": 2}, "expected awp_after"),
        ({"swa_after": -1}, "expected swa_after"),
        ({"average": 1.5}, "expected average"),
        ({"average": 0.9, "swa_after": 0.5}, "expected average or swa_after"),
        ({"settle": -1}, "expected settle"),
    ],
)
def test_a_wrong_option_is_one_clear_error(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(epochs=1, **changes)  # type: ignore[arg-type]
