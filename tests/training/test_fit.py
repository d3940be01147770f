"""The fitting loop: the same seed the same weights, whatever kills it in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.errors import InputError
from steelman.progress import Progress
from steelman.training import Examples, Recipe, fit

RECIPE = Recipe(epochs=3, batch_size=8, rate=0.05, average=0.5, precision="fp32", seed=3)


class Points:
    """Points in the plane, labelled by side; remembers which were asked for."""

    def __init__(self, n: int, seed: int) -> None:
        self.x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
        self.y = (self.x.sum(1) > 0).long()
        self.asked: set[int] = set()

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        self.asked |= set(indices.tolist())
        return self.x[indices], self.y[indices]


@dataclass(frozen=True)
class Side:
    """Cross-entropy with dropout's noise in it, judged by accuracy."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        x, y = validation.batch(torch.arange(len(validation)))
        with torch.no_grad():
            return {"accuracy": float((model(x).argmax(1) == y).float().mean())}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 2))


def weights(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class KilledError(Exception):
    pass


def killer(step: int):
    def progress(now: Progress) -> None:
        if now.done == step:
            raise KilledError

    return progress


def test_it_learns_and_the_same_seed_gives_the_same_weights() -> None:
    one, other, third = network(), network(), network()
    history = fit(one, Side(), Points(64, 0), Points(40, 1), RECIPE)
    fit(other, Side(), Points(64, 0), Points(40, 1), RECIPE)
    fit(third, Side(), Points(64, 0), Points(40, 1), replace(RECIPE, seed=4))
    assert max(epoch.scores["accuracy"] for epoch in history) > 0.85
    assert same(weights(one), weights(other))
    assert not same(weights(one), weights(third))


@pytest.mark.parametrize("step", [1, 5, 8, 9, 16, 23])
def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(tmp_path: Path, step: int) -> None:
    whole, killed = network(), network()
    history = fit(whole, Side(), Points(64, 0), Points(40, 1), RECIPE)
    place = tmp_path / "run.checkpoint"
    with pytest.raises(KilledError):
        fit(killed, Side(), Points(64, 0), Points(40, 1), RECIPE, checkpoint=place, progress=killer(step), save_every=0)
    fresh = nn.Sequential(*network())
    resumed = fit(fresh, Side(), Points(64, 0), Points(40, 1), RECIPE, checkpoint=place)
    assert same(weights(whole), weights(fresh))
    assert [e.loss for e in resumed] == pytest.approx([e.loss for e in history])
    assert place.exists()
    again = fit(nn.Sequential(*network()), Side(), Points(64, 0), Points(40, 1), RECIPE, checkpoint=place)
    assert [e.loss for e in again] == [e.loss for e in resumed]


def test_the_checkpoint_of_another_run_is_refused_and_kept(tmp_path: Path) -> None:
    place = tmp_path / "run.checkpoint"
    with pytest.raises(KilledError):
        fit(network(), Side(), Points(64, 0), Points(9, 1), RECIPE, checkpoint=place, progress=killer(9))
    before = place.read_bytes()
    with pytest.raises(InputError, match="expected a checkpoint of this run"):
        fit(network(), Side(), Points(64, 0), Points(9, 1), replace(RECIPE, rate=0.01), checkpoint=place)
    assert place.read_bytes() == before
    with pytest.raises(InputError, match="with another train"):
        fit(network(), Side(), Points(64, 5), Points(9, 1), RECIPE, checkpoint=place)
    other = network()
    with torch.no_grad():
        other[0].weight.add_(1)
    with pytest.raises(InputError, match="with another model"):
        fit(other, Side(), Points(64, 0), Points(9, 1), RECIPE, checkpoint=place)
    place.write_bytes(b"rubbish")
    with pytest.raises(InputError, match="got a damaged or other file"):
        fit(network(), Side(), Points(64, 0), Points(9, 1), RECIPE, checkpoint=place)


def test_validation_images_never_train() -> None:
    train, validation = Points(64, 0), Points(40, 1)

    @dataclass(frozen=True)
    class Watching(Side):
        def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float) -> Tensor:
            assert not any(torch.equal(row, val) for row in batch[0] for val in validation.x)
            return F.cross_entropy(model(batch[0]), batch[1])

    fit(network(), Watching(), train, validation, RECIPE)
    assert train.asked == set(range(64))


def test_an_objective_hears_how_much_of_the_training_is_over() -> None:
    heard: list[float] = []

    @dataclass(frozen=True)
    class Listening(Side):
        def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float) -> Tensor:
            heard.append(done)
            return F.cross_entropy(model(batch[0]), batch[1])

    fit(network(), Listening(), Points(64, 0), Points(9, 1), RECIPE)
    assert heard == [step / 24 for step in range(24)]


def test_it_keeps_the_best_epoch_and_stops_when_patience_ends() -> None:
    scores = iter([0.2, 0.9, 0.5, 0.4, 0.3, 0.1])
    kept: list[list[Tensor]] = []

    @dataclass(frozen=True)
    class Scripted(Side):
        def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
            kept.append(weights(model))
            return {"score": next(scores)}

    model = network()
    history = fit(model, Scripted(), Points(64, 0), Points(9, 1), replace(RECIPE, epochs=6, patience=2))
    assert [epoch.scores["score"] for epoch in history] == [0.2, 0.9, 0.5, 0.4]
    assert same(weights(model), kept[1])
    assert not same(weights(model), kept[3])


def test_torchs_global_generator_is_as_before() -> None:
    model = network()
    before = torch.get_rng_state()
    fit(model, Side(), Points(64, 0), Points(9, 1), RECIPE)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_every_optimiser_moves_the_weights(optimiser: str) -> None:
    model = network()
    before = weights(model)
    fit(model, Side(), Points(64, 0), Points(9, 1), replace(RECIPE, optimiser=optimiser, schedule="constant", epochs=1))
    assert not same(before, weights(model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser": "adamx"}, "expected optimiser"),
        ({"precision": "fp8"}, "expected precision"),
        ({"schedule": "steps"}, "expected schedule"),
        ({"rate": float("nan")}, "expected rate"),
        ({"rate": 0.0}, "expected rate"),
        ({"epochs": 0}, "expected epochs"),
        ({"batch_size": -3}, "expected batch_size"),
        ({"patience": -1}, "expected patience"),
        ({"seed": 2**70}, "expected seed"),
        ({"rate": 1e30, "optimiser": "sgd", "average": 0.0}, "expected a finite loss"),
    ],
)
def test_a_wrong_recipe_is_one_clear_error(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(network(), Side(), Points(64, 0), Points(9, 1), replace(RECIPE, **change))  # type: ignore[arg-type]


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(InputError, match="expected images to train"):
        fit(network(), Side(), Points(0, 0), Points(9, 1), RECIPE)
