"""An attack that someone else wrote, by decisions alone, evaluated as ours are; without gradients too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import steelman
from steelman import defences
from steelman.attacks import Asks, AttackLike, Finds, Result, Single
from steelman.data import Images
from steelman.evaluation.options import Defended, EvaluationOptions
from steelman.norms import Linf
from steelman.records import Case
from steelman.streams import Streams
from steelman.threat import Threat


@dataclass(frozen=True)
class Corners(Single):
    """Tries corners of the ball at random and keeps the first that is misread; it sees decisions alone."""

    threat: Threat
    tries: int = 60

    name = "corners"
    targeted = False
    asks = Asks.DECISIONS
    finds = Finds.WITHIN

    def __call__(self, model: Any, x: Tensor, y: Tensor, *, seed: int = 0, indices: Any = None, **rest: Any) -> Result:
        streams = Streams.of(seed, torch.arange(len(x)) if indices is None else indices)
        found, broken = x.clone(), model(x).argmax(1) != y
        natural, spent = broken.clone(), torch.ones_like(y)
        for turn in range(self.tries):
            sign = streams.derive("corner").derive(turn).uniform(x).sub(0.5).sign()
            tried = self.threat.project(x + float(self.threat.eps) * sign, around=x)
            hit = ~broken & (model(tried).argmax(1) != y)
            spent = spent + ~broken
            found[hit], broken = tried[hit], broken | hit
        margin = torch.where(broken, 1.0, -1.0)
        by = torch.where(broken & ~natural, 0, -1)
        return Result(
            found, broken, natural, margin, self.threat.distance(found, around=x), spent, torch.zeros_like(y), by
        )


class Cut(nn.Module):
    """Without a gradient, and of another shape, so that nothing can stand in for it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x], 1).detach()


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.chunk(2, 1)[0]


def linear() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()


def sample(model: nn.Module, n: int = 30) -> Images:
    pixels = torch.randint(60, 200, (n, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Images(pixels, model(pixels / 255).argmax(1), classes=tuple("abcd"), name="drawn")


PLAIN = EvaluationOptions(certify=False, curve=False, check=False)


def evaluated(model: nn.Module | Defended, attack: AttackLike, images: Images, **settings: Any) -> Case:
    (case,) = steelman.evaluate(model, images, [attack], PLAIN, **settings).cases
    return case


def test_on_a_pipeline_without_gradients_it_is_made_and_counts() -> None:
    model = linear()
    pipeline = nn.Sequential(Cut(), Halves(), model).eval()
    images = sample(model)
    case = evaluated(pipeline, Corners(Threat(Linf(0.15))), images)
    assert [breaker.attack for breaker in case.breakers] == ["corners", "square"]
    first = case.breakers[0]
    assert first.tried == len(images)
    assert first.broke > 0
    assert first.forwards > len(images)
    assert first.backwards == 0
    assert "corners" in {one.by for one in case.samples}
    x, y = images.batch(torch.arange(len(images)))
    own = Corners(Threat(Linf(0.15)))(pipeline, x, y, indices=images.indices)
    assert first.broke == int(own.broken.sum())


def test_on_an_ordinary_pipeline_it_is_made_once_beside_ours() -> None:
    model = linear()
    images = sample(model)
    attacks = [Corners(Threat(Linf(0.15))), steelman.attacks.pgd(Linf(0.15))]
    (case,) = steelman.evaluate(model, images, attacks, PLAIN).cases
    assert [breaker.attack for breaker in case.breakers] == ["corners", "pgd"]
    alone = evaluated(model, attacks[0], images)
    assert case.kept <= alone.kept < len(images)
    assert [breaker.attack for breaker in alone.breakers] == ["corners"]


def test_on_a_random_pipeline_with_a_bare_classifier_beside_it() -> None:
    model = linear()
    images = sample(model)
    noisy = nn.Sequential(defences.RandomResizePad(), model).eval()
    case = evaluated(Defended(noisy, model), Corners(Threat(Linf(0.15)), tries=5), images)
    assert {breaker.protocol for breaker in case.breakers} == {"static", "adaptive"}
    assert case.static is not None


def test_a_folder_goes_on_with_the_same_attack_alone(tmp_path: Any) -> None:
    model = linear()
    images = sample(model)
    attack = Corners(Threat(Linf(0.15)), tries=5)
    first = evaluated(model, attack, images, folder=tmp_path)
    assert evaluated(model, replace(attack), images, folder=tmp_path) == first
    with pytest.raises(steelman.errors.InputError, match="another attacks"):
        evaluated(model, replace(attack, tries=6), images, folder=tmp_path)
