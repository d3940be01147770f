"""One backward pass for the weights and the perturbation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.data import Images
from steelman.errors import InputError
from steelman.norms import L2, Linf
from steelman.progress import Progress
from steelman.training import Classify, Recipe, cost, fit
from steelman.training.objectives import Free, free

RECIPE = Recipe(epochs=6, batch_size=8, optimiser="sgd", rate=0.1, momentum=0.0, schedule="constant", precision="fp32")


def images(n: int = 20) -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(n, 1, 4, 4, generator=generator), torch.arange(n) % 3, ("a", "b", "c"), "noise")


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


class Listed:
    """Examples that remember the order in which they were asked for."""

    def __init__(self, inner: Images) -> None:
        self.inner, self.asked = inner, list[Tensor]()

    def __len__(self) -> int:
        return len(self.inner)

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        self.asked.append(indices)
        return self.inner.batch(indices)


def test_the_weights_and_the_perturbation_are_those_of_the_papers_loop() -> None:
    eps, replays, listed = 0.2, 3, Listed(images())
    objective = free(Linf(eps), replays=replays)
    model, ends = linear(), list[Tensor]()

    def end(now: Progress) -> None:
        ends[:] = [parameter.detach().clone() for parameter in model.parameters()]

    fit(model, objective, listed, images(), RECIPE, progress=end)
    steps = listed.asked[1:]
    assert len(steps) == 18

    mine, delta = linear(), torch.zeros(8, 1, 4, 4)
    for indices in steps:
        x, y = images().batch(indices)
        noise = delta[: len(x)].clone()
        read = (x + noise).clamp(0, 1).requires_grad_()
        F.cross_entropy(mine(read), y).backward()
        with torch.no_grad():
            for parameter in mine.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
        delta[: len(x)] = (noise + eps * read.grad.sign()).clamp(-eps, eps)
    assert torch.allclose(objective.carried()["delta"], delta, atol=1e-6)
    for own, wanted in zip(ends, mine.parameters(), strict=True):
        assert torch.allclose(own, wanted, atol=1e-5)


def test_each_batch_is_shown_so_many_times_running_and_each_image_once_in_as_many_epochs() -> None:
    listed = Listed(images())
    fit(linear(), free(Linf(0.1), replays=3), listed, images(), RECIPE)
    steps = listed.asked[1:]
    for start in range(0, 18, 3):
        assert torch.equal(steps[start], steps[start + 1])
        assert torch.equal(steps[start], steps[start + 2])
    for turn in (steps[0:9:3], steps[9:18:3]):
        assert sorted(torch.cat(turn).tolist()) == list(range(20))
    assert not torch.equal(steps[0], steps[9])


def test_a_batch_stays_as_it_was_augmented() -> None:
    seen: list[Tensor] = []
    model = linear()
    model.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    objective = free(Linf(0.0), replays=3, classify=Classify(shift=2))
    for _ in range(4):
        objective.loss(model, images().batch(torch.arange(8)), 1.0)
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], images().x[:8])
    assert not torch.equal(seen[2], seen[3])


def test_a_batch_that_comes_out_of_turn_is_read_as_it_is() -> None:
    model, objective = linear(), free(Linf(0.0), replays=3)
    objective.loss(model, images().batch(torch.arange(8)), 1.0)
    x, y = images().batch(torch.arange(8, 16))
    assert torch.equal(objective.loss(model, (x, y), 1.0), F.cross_entropy(model(x), y))


class KilledError(Exception):
    pass


@pytest.mark.parametrize("step", [1, 4, 9, 11, 17])
def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(tmp_path: Path, step: int) -> None:
    def killer(now: Progress) -> None:
        if now.done == step:
            raise KilledError

    def objective() -> Free:
        return free(Linf(0.2), replays=4, classify=Classify(shift=1))

    recipe, place = Recipe(epochs=6, batch_size=8, rate=0.05, average=0.5, precision="fp32"), tmp_path / "checkpoint"
    whole, killed, fresh = linear(), linear(), linear()
    once, one = objective(), objective()
    fit(whole, once, images(), images(), recipe)
    with pytest.raises(KilledError):
        fit(killed, one, images(), images(), recipe, checkpoint=place, progress=killer, save_every=0)
    again = objective()
    fit(fresh, again, images(), images(), recipe, checkpoint=place)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), fresh.state_dict().values(), strict=True))
    assert torch.equal(once.carried()["delta"], again.carried()["delta"])
    assert once.carried()["delta"].any()


def test_a_second_training_does_not_begin_with_the_perturbation_of_the_first() -> None:
    objective, one, other = free(Linf(0.2), replays=2), linear(), linear()
    for model in (one, other):
        fit(model, objective, images(), images(), RECIPE)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_step_costs_what_one_on_labels_costs() -> None:
    assert cost(linear(), free(Linf(0.1)), (images().x, images().y), RECIPE) == 1


def test_the_perturbation_stays_in_its_ball_of_any_norm() -> None:
    model, objective = linear(), free(L2(0.3), replays=2)
    for _ in range(5):
        objective.loss(model, (images().x, images().y), 1.0).backward()
    norms = objective.carried()["delta"].flatten(1).norm(dim=1)
    assert torch.allclose(norms, torch.full_like(norms, 0.3), atol=1e-5)


def test_it_is_judged_by_pgd_then_clean_then_by_fgsm() -> None:
    assert list(free(Linf(0.1)).validate(linear(), images())) == ["pgd 0.1", "clean", "fgsm 0.1"]


def test_replays_that_are_none_are_an_error_and_so_is_weight_perturbation() -> None:
    with pytest.raises(InputError, match="expected replays"):
        free(Linf(0.1), replays=0)
    with pytest.raises(InputError, match="expected an objective that attacks its images with awp, got Free"):
        fit(linear(), free(Linf(0.1)), images(), images(), Recipe(epochs=1, awp=0.01))
