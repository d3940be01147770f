"""The attacker who knows: what each stage does to a gradient, and the paths that lead through."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from steelman import attacks
from steelman.data import Images
from steelman.defences import PuVAE, StraightThrough, guard
from steelman.evaluation import measure
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import EvaluationOptions
from steelman.evaluation.padding import COARSE, FEW, LEAST, PadBatch
from steelman.evaluation.planning.attacker import WHOLE, probe_pipeline
from steelman.evaluation.planning.attempts import attempts
from steelman.norms import L0, Linf

generator = torch.Generator().manual_seed(0)
X = torch.rand(24, 1, 8, 8, generator=generator) * 0.6 + 0.2
WEIGHT = torch.randn(4, 64, generator=generator)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4, bias=False)
        self.layer.weight.data = WEIGHT.clone()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


Y = Linear()(X).argmax(1)


def survivors(pipeline: nn.Module) -> int:
    """How many images hold against PGD by one who knows the pipeline."""
    options = EvaluationOptions(certify=False, curve=False, check=False, pictures=0)
    images = Images(X, Y, ("a", "b", "c", "d"), "noise test")
    return evaluate(pipeline, images, attacks.pgd(Linf(0.3)), options).cases[0].kept


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 16).round() / 16


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach().clone()


class Root(nn.Module):
    """Its slope at zero times zero is NaN, at pixels that are there on every image."""

    def forward(self, x: Tensor) -> Tensor:
        return x + (x - x).sqrt()


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.01 * torch.randn_like(x)


class Doubled(nn.Module):
    """Without a gradient, and of another shape."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([Rounded()(x), Rounded()(x)], 1)


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.chunk(2, 1)[0]


@pytest.mark.parametrize(
    ("stage", "gradient", "gradient_masked"),
    [(Rounded, "zero", True), (Cut, "none", True), (Root, "NaN", True), (Noise, "exact", False)],
)
def test_a_stage_is_judged_by_its_gradient(stage: type[nn.Module], gradient: str, gradient_masked: bool) -> None:
    attacker = probe_pipeline(guard(stage(), Linear()), X, Y)
    assert [found.gradient for found in attacker.stages] == [gradient, "exact"]
    assert attacker.stages[0].name == f"0 ({stage.__name__})"
    assert attacker.stages[0].share == (0.0 if gradient_masked else 1.0)
    assert attacker.gradient_masked is gradient_masked
    assert attacker.random is attacker.stages[0].random is (stage is Noise)
    assert len(attacker.paths) == 1
    assert ("BPDA" in attacker.paths[0].title) is gradient_masked


def test_what_takes_the_gradient_away_is_found_inside_a_model() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.squeeze, self.last = nn.ReLU(inplace=True), Rounded(), Linear()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.squeeze(self.first(x + 0)))

    model = Hidden()
    attacker = probe_pipeline(model, X, Y)
    assert [stage.name for stage in attacker.stages] == ["squeeze (Rounded)"]
    assert survivors(model) == 0
    assert isinstance(model.squeeze, Rounded)


def test_the_replaced_pipeline_answers_as_the_pipeline_does() -> None:
    pipeline = guard(Rounded(), Linear())
    (way,) = probe_pipeline(pipeline, X, Y).paths
    assert torch.equal(way.model(X), pipeline(X))
    assert isinstance(pipeline[0], Rounded)


def test_what_declares_its_stand_in_is_attacked_through_it() -> None:
    attacker = probe_pipeline(guard(StraightThrough(Rounded()), Linear()), X, Y)
    assert attacker.stages[0].gradient == "BPDA"
    assert not attacker.gradient_masked
    assert [way.title for way in attacker.paths] == [WHOLE]


def test_without_a_way_for_gradients_attacks_without_gradients_are_made() -> None:
    pipeline = nn.Sequential(Doubled(), Halves(), Linear()).eval()
    attacker = probe_pipeline(pipeline, X, Y)
    assert attacker.paths == ()
    made = [attempt.name for attempt in attempts(attacker, [attacks.pgd(Linf(0.2))])]
    assert made == ["square"]
    cascade = [attempt.name for attempt in attempts(attacker, [attacks.standard(Linf(0.2))])]
    assert cascade == ["square"]
    assert survivors(pipeline) == 0


def test_a_defence_offers_stand_ins_and_the_verdict_stays_its_own() -> None:
    torch.manual_seed(0)
    puvae = PuVAE(channels=1, side=8, classes=4, latent=4, width=4, sample=False)
    pipeline = guard(puvae, Linear())
    y = pipeline(X).argmax(1)
    attacker = probe_pipeline(pipeline, X, y)
    assert [way.title for way in attacker.paths] == [WHOLE, "0 (PuVAE) as class-marginal"]
    first, second = attempts(attacker, [attacks.pgd(Linf(0.2), steps=10)])
    result = second(attacker, X, y, indices=torch.arange(len(X)), precision="fp32")
    again = pipeline(result.x)
    top = again.topk(2, 1)
    wrong = (again.argmax(1) != y) | (top.values[:, 0] == top.values[:, 1])
    assert torch.equal(result.broken, wrong)
    assert first.through == WHOLE


class Reading(nn.Module):
    """Keeps images as they are, and says that what counts is another reading of them."""

    def __init__(self, reading: nn.Module) -> None:
        super().__init__()
        self.reading = reading

    def forward(self, x: Tensor) -> Tensor:
        return x

    def backward_approximations(self) -> dict[str, nn.Module]:
        return {"reading": self.reading}


def test_a_stand_in_that_gives_logits_stands_for_all_that_follows() -> None:
    torch.manual_seed(1)
    linear, reading = Linear(), Linear()
    pipeline = nn.Sequential(nn.Identity(), Reading(reading), linear)
    _, way = probe_pipeline(pipeline, X, Y).paths
    assert way.title == "1 (Reading) as reading"
    assert way.model is pipeline
    assert torch.equal(way.gradient.stand_in(X), reading(X))


def test_a_cascade_through_a_random_pipeline_ends_with_steps_that_are_all_taken() -> None:
    attacker = probe_pipeline(guard(Noise(), Linear()), X, Y)
    made = list(attempts(attacker, [attacks.standard(Linf(0.2))]))
    assert [attempt.name for attempt in made] == ["standard", "apgd"]
    assert made[1].attack.goal == attacks.Worst()
    assert attacker.draws == 10
    assert probe_pipeline(guard(Noise(), Linear()), X, Y, draws=4).draws == 4


@pytest.mark.parametrize(
    ("attack", "needs"),
    [
        (attacks.pgd(Linf(0.1)), True),
        (attacks.square(Linf(0.1)), False),
        (attacks.standard(Linf(0.1)), True),
        (attacks.one_pixel(L0(1)), False),
        (attacks.hopskipjump(Linf(0.1)), False),
        (attacks.cw(Linf(0.1)), True),
        (attacks.jsma(L0(5)), True),
        (attacks.transfer(attacks.pgd(Linf(0.1)), Linear()), False),
        (attacks.nes(Linf(0.1)), False),
        (attacks.spatial(), False),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_which_attacks_need_gradients(attack: attacks.AttackLike, needs: bool) -> None:
    assert (attack.asks is attacks.Asks.GRADIENTS) is needs
    without = nn.Sequential(Doubled(), Halves(), Linear()).eval()
    made = [one.name for one in attempts(probe_pipeline(without, X, Y), [attack])]
    assert (attack.name in made) is not needs


def test_few_images_are_filled_up_and_answered_alone() -> None:
    seen = []

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return x.flatten(1)[:, :3]

    even = PadBatch(Counting())
    many = X.repeat(5, 1, 1, 1)
    for n in (1, LEAST - 1, LEAST, LEAST + 3, FEW - 1, FEW, FEW + 1, 100):
        assert torch.equal(even(many[:n]), many[:n].flatten(1)[:, :3])
    assert seen == [LEAST, LEAST, LEAST, 2 * LEAST, FEW, FEW, FEW + COARSE, 128]
    assert even.abstains is False
    x = X[:2].clone().requires_grad_()
    even(x).sum().backward()
    assert x.grad is not None
    assert float(x.grad.sum()) == 6.0


def test_knowing_leaves_model_and_generator_as_they_were() -> None:
    model = guard(Noise(), Linear()).train()
    before, state = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    probe_pipeline(model, X, Y)
    assert torch.equal(before, torch.get_rng_state())
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_only_seemed_broken_in_a_random_pipeline_is_attacked_to_its_worst() -> None:
    """Stopping at the first lucky mean leaves images just over the boundary, which half of all fresh draws put back."""

    class Loud(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.15 * torch.randn_like(x)

    pipeline = guard(Loud(), Linear())
    attacker = probe_pipeline(pipeline, X, Y, draws=2)
    attack = attacks.pgd(Linf(0.12), steps=40)
    (attempt,) = attempts(attacker, [attack])
    found = attempt(attacker, X, Y, indices=torch.arange(len(X)), precision="fp32")
    plain = attack.through(attacks.averaged(2))(PadBatch(pipeline), X, Y)
    holds = measure.right(pipeline, plain.x, Y, seed=1, draws=2)
    assert int(found.broken.sum()) > int((plain.broken & ~holds).sum())
    assert (found.backwards >= plain.backwards).all()
    fresh = measure.right(pipeline, found.x, Y, seed=1, draws=2)
    assert not fresh[found.broken].any()
