"""Objectives of robust training: each against its paper's formula, written out on its own here."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman.attacks import Last, Worst, apgd, autoattack, mifgsm, pgd, square
from steelman.data import Images
from steelman.errors import InputError
from steelman.norms import L2, Linf
from steelman.precision import precision
from steelman.streams import Streams
from steelman.training import Adversarial, Classify, Recipe, accuracy, fit
from steelman.training.objectives import catalogue, guided, logit_pairing, madry, mart, mixed, objective, trades
from steelman.training.objectives.guided import Held, LedAway
from steelman.training.objectives.mart import Mart
from steelman.training.objectives.mixed import Mixed
from steelman.training.objectives.opponent import opponent
from steelman.training.objectives.trades import Trades, divergence

OURS = ("madry", "mixed", "logit-pairing", "trades", "mart", "guided")
QUICK = {"madry": {"steps": 4}, "logit-pairing": {"steps": 4}, "trades": {"steps": 4}, "mart": {"steps": 4}}
EPS = 0.1

ours = pytest.mark.parametrize("name", OURS)


def batch(n: int = 12, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 4, 4, generator=generator, dtype=dtype), torch.arange(n) % 3


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 20), nn.Tanh(), nn.Linear(20, 3)).to(dtype)


def quick(name: str, eps: float = EPS, **settings: object):
    return objective(name, Linf(eps), **{**QUICK.get(name, {}), **settings})


def drawn() -> int:
    """The seed that the attack of the next loss takes, with the generator put back."""
    state = torch.get_rng_state()
    seed = int(torch.randint(2**31, ()))
    torch.set_rng_state(state)
    return seed


def starting(x: torch.Tensor, seed: int) -> Streams:
    """The streams that the first attempt of an attack starts from."""
    places = torch.arange(len(x))
    return Streams.of(seed, places).derive("attempt").derive(torch.zeros_like(places)).derive("start")


def climbed(model: nn.Module, x: torch.Tensor, at: torch.Tensor, aim, steps: int, size: float, eps: float):
    """Signed steps up a sum, projected on the ball and then on the box."""
    for _ in range(steps):
        at = at.detach().requires_grad_()
        (grad,) = torch.autograd.grad(aim(model(at)).sum(), at)
        at = torch.minimum(torch.maximum(at + size * grad.sign(), x - eps), x + eps).clamp(0, 1)
    return at.detach()


def test_mixed_is_alpha_of_the_clean_loss_and_the_rest_of_the_one_under_fgsm() -> None:
    model, (x, y) = network(), batch()
    x_adv = climbed(model, x, x, lambda out: F.cross_entropy(out, y, reduction="none"), 1, EPS, EPS)
    for alpha in (0.0, 0.3, 1.0):
        wanted = alpha * F.cross_entropy(model(x), y) + (1 - alpha) * F.cross_entropy(model(x_adv), y)
        assert torch.allclose(mixed(Linf(EPS), alpha=alpha).loss(model, (x, y)), wanted)


def test_adversarial_pairing_is_the_mean_of_both_and_the_squared_difference_of_their_logits() -> None:
    model, (x, y) = network(), batch()
    _, x_adv, _ = logit_pairing(Linf(EPS), steps=3, attack="bim").attacked(model, (x, y))
    clean, bad = model(x), model(x_adv)
    wanted = (F.cross_entropy(clean, y) + F.cross_entropy(bad, y)) / 2
    wanted = wanted + 0.7 * sum(((a - b) ** 2).sum() for a, b in zip(clean, bad, strict=True)) / clean.numel()
    assert torch.allclose(logit_pairing(Linf(EPS), weight=0.7, steps=3, attack="bim").loss(model, (x, y)), wanted)


def test_clean_pairing_draws_the_halves_of_a_noisy_batch_together() -> None:
    model, (x, y) = network(), batch(7)
    torch.manual_seed(4)
    noisy = x + 0.25 * torch.randn_like(x)
    out = model(noisy)
    pairs = torch.stack([((out[i] - out[i + 3]) ** 2).mean() for i in range(3)]).mean()
    torch.manual_seed(4)
    loss = logit_pairing(Linf(EPS), pairing="clean", weight=0.2, noise=0.25).loss(model, (x, y))
    assert torch.allclose(loss, F.cross_entropy(out, y) + 0.2 * pairs)
    alone = logit_pairing(Linf(EPS), pairing="clean", noise=0.0).loss(model, (x[:1], y[:1]))
    assert torch.allclose(alone, F.cross_entropy(model(x[:1]), y[:1]))


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p * (p / q).log()).sum(1)


def test_trades_climbs_the_divergence_from_near_the_image_and_holds_it_down() -> None:
    model, (x, y) = network(torch.float64), batch(dtype=torch.float64)
    torch.manual_seed(7)
    start = (x + 0.001 * starting(x, drawn()).normal(x)).clamp(0, 1)
    clean = model(x).softmax(1).detach()
    x_adv = climbed(model, x, start, lambda out: kl(clean, out.softmax(1)), 5, 0.03, EPS)
    assert ((x_adv - x).abs().amax() - EPS).abs() < 1e-12
    p, q = model(x).softmax(1), model(x_adv).softmax(1)
    wanted = F.cross_entropy(model(x), y) + 6 * kl(p, q).mean()
    loss = trades(Linf(EPS), steps=5, size=0.03).loss(model, (x, y))
    assert torch.allclose(loss, wanted, rtol=1e-9)
    assert F.cross_entropy(model(x), y) < loss


def test_trades_takes_the_papers_forty_steps_of_a_hundredth() -> None:
    attack = trades(Linf(0.3)).attack
    assert attack.rule.steps == 40
    assert attack.rule.size.share * 0.3 == pytest.approx(0.01)
    assert trades(Linf(0.3)).lesson == Trades(beta=6.0)


def test_mart_boosts_the_loss_and_weighs_what_is_not_sure() -> None:
    model, (x, y) = network(torch.float64), batch(dtype=torch.float64)
    x_adv = (x + EPS * torch.randn_like(x).sign()).clamp(0, 1)
    p, q = model(x).softmax(1).detach(), model(x_adv).softmax(1).detach()
    each = []
    for i, label in enumerate(y.tolist()):
        rival = max(float(q[i, k]) for k in range(3) if k != label)
        boosted = -math.log(q[i, label]) - math.log(1 - rival)
        each.append(boosted + 5 * float(kl(p[i : i + 1], q[i : i + 1])) * (1 - float(p[i, label])))
    assert Mart()(model, x, x_adv, y, Classify()).item() == pytest.approx(sum(each) / len(each), rel=1e-9)


def test_mart_trains_on_ten_steps_of_a_quarter_of_eps() -> None:
    model, (x, y) = network(), batch()
    torch.manual_seed(7)
    start = (x + EPS * (2 * starting(x, drawn()).uniform(x) - 1)).clamp(0, 1)
    x_adv = climbed(model, x, start, lambda out: F.cross_entropy(out, y, reduction="none"), 10, EPS / 4, EPS)
    _, found, _ = mart(Linf(EPS)).attacked(model, (x, y))
    assert (found - x_adv).abs().amax() < 1e-5


def test_guided_takes_one_step_away_from_the_clean_answer_and_holds_the_two_together() -> None:
    model, (x, y) = network(torch.float64), batch(dtype=torch.float64)
    torch.manual_seed(7)
    start = (x + EPS * (starting(x, drawn()).uniform(x) - 0.5).sign()).clamp(0, 1)
    clean = model(x).softmax(1).detach()

    def aim(out: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(out, y, reduction="none") + 15 * ((out.softmax(1) - clean) ** 2).sum(1)

    x_adv = climbed(model, x, start, aim, 1, EPS, EPS)
    apart = ((model(x).softmax(1) - model(x_adv).softmax(1)) ** 2).sum(1).mean()
    loss = guided(Linf(EPS)).loss(model, (x, y), 0.1)
    assert torch.allclose(loss, F.cross_entropy(model(x), y) + 15 * apart, rtol=1e-9)


def test_the_weight_of_guided_grows_after_each_quarter() -> None:
    made = guided(Linf(EPS), weight=2.0, growth=3.0)
    weights = {done: made.at(done).lesson for done in (0.0, 0.24, 0.25, 0.5, 0.75, 1.0)}
    assert weights == {
        0.0: Held(2.0),
        0.24: Held(2.0),
        0.25: Held(6.0),
        0.5: Held(18.0),
        0.75: Held(54.0),
        1.0: Held(54.0),
    }
    assert made.at(0.6).attack.loss == LedAway(18.0)


class Watched(nn.Module):
    """A classifier with batch norm that notes the mode, images and precision of every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3))
        self.passes: list[tuple[bool, torch.Tensor, torch.dtype]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        self.passes.append((self.training, x.detach(), out.dtype))
        return out


@ours
def test_each_is_attacked_in_evaluation_mode_and_learns_in_training_mode(name: str) -> None:
    model, (x, y) = Watched().train(), batch()
    quick(name).loss(model, (x, y)).backward()
    modes = [training for training, *_ in model.passes]
    assert not modes[0]
    assert modes == sorted(modes)
    assert modes[-1]
    assert all(module.training for module in model.modules())
    assert int(model.layers[1].num_batches_tracked) == sum(modes)
    for training, seen, _ in model.passes:
        for image in seen.split(len(x)) if training else (seen,):
            assert (image - x).abs().amax() <= EPS + 1e-6
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@ours
def test_each_runs_in_the_precision_of_the_fit(name: str) -> None:
    for word, wanted in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        model = Watched().train()
        with precision(word, torch.device("cpu")):
            loss = quick(name).loss(model, batch())
        assert loss.dtype == torch.float32
        assert model.passes[-1][2] == wanted
        attacked = [dtype for training, _, dtype in model.passes if not training]
        assert attacked.count(wanted) >= QUICK.get(name, {"steps": 1})["steps"]


@ours
def test_eps_rises_over_the_ramp(name: str) -> None:
    model, (x, y) = network(), batch()
    made = quick(name, ramp=0.5)
    moved = {}
    for done in (0.0, 0.25, 0.5, 0.9):
        images, x_adv, _ = made.attacked(model, (x, y), done)
        moved[done] = float((x_adv - images).abs().amax())
    assert moved[0.0] == 0
    assert moved[0.25] <= EPS / 2 + 1e-6
    assert 0 < moved[0.25] < moved[0.5] <= EPS + 1e-6
    assert moved[0.9] > EPS / 2
    with pytest.raises(InputError, match="expected ramp as a share"):
        quick(name, ramp=1.5)


@ours
def test_each_draws_anew_at_every_step_and_the_same_from_the_same_seed(name: str) -> None:
    found, model = [], network()
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        found.append(quick(name).attacked(model, batch())[1])
    assert torch.equal(found[0], found[2])
    if name != "mixed":
        assert not torch.equal(found[0], found[1])


@ours
def test_a_loss_of_very_sure_answers_is_finite(name: str) -> None:
    model, (x, y) = network(), batch()
    with torch.no_grad():
        for parameter in model[3].parameters():
            parameter.mul_(1e4)
    loss = quick(name).loss(model, (x, y))
    loss.backward()
    assert loss.isfinite()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


def separable(n: int = 384) -> Images:
    """One pixel tells nine in ten labels and survives; the rest tell all together, each by less than eps.

    As in Tsipras et al. 2019, section 2.1: the accurate classifier is the one that an attack turns.
    """
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    sign = 2.0 * y[:, None] - 1
    x = 0.5 + 0.03 * sign + 0.05 * torch.randn(n, 64, generator=generator)
    x[:, 0] = 0.5 + 0.4 * torch.where(torch.rand(n, generator=generator) < 0.9, sign[:, 0], -sign[:, 0])
    return Images(x.clamp(0, 1).view(-1, 1, 8, 8), y, ("a", "b"), "two kinds of pixels")


RECIPE = Recipe(epochs=8, batch_size=64, rate=0.05, precision="fp32")


def fitted(aim: object):
    """A linear model, its history and its accuracy under attack after a fit to `aim`."""
    images = separable()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    history = fit(model, aim, images, images, RECIPE)
    assert accuracy(model, images) > 0.85
    return history, pgd(Linf(EPS), steps=10)(model, images.x, images.y).accuracy


@ours
def test_a_fit_lowers_the_loss_and_holds_what_plain_training_loses(name: str) -> None:
    history, robust = fitted(quick(name))
    if name != "guided":  # its weight grows, and its loss with it
        assert history[-1].loss < 0.8 * history[0].loss
    assert list(history[-1].scores) == ["pgd 0.1", "clean"]
    assert history[-1].scores["pgd 0.1"] <= history[-1].scores["clean"]
    assert robust > (0.6 if name == "guided" else 0.8)


def test_plain_training_and_clean_pairs_do_not_hold_there() -> None:
    clean = objective("logit-pairing", Linf(EPS), pairing="clean", noise=0.02)
    for aim in (Classify(), clean):
        history, robust = fitted(aim)
        assert history[-1].loss < 0.9 * history[0].loss
        assert robust < 0.5


def test_divergence_is_none_between_equals_and_grows() -> None:
    a = torch.tensor([[2.0, 0.0, -1.0]], requires_grad=True)
    assert divergence(a, a).item() == pytest.approx(0, abs=1e-7)
    far = divergence(torch.tensor([[200.0, 0.0, 0.0]]), torch.tensor([[0.0, 200.0, 0.0]]))
    assert far.item() == pytest.approx(200)


def test_an_opponent_takes_every_step_and_keeps_the_end_of_an_ascent() -> None:
    for attack in ("pgd", "fgsm", "mi-fgsm", "apgd", mifgsm, apgd):
        assert opponent(attack, Linf(0.3)).goal == Last()
    assert opponent(square, Linf(0.3)).goal == Worst()
    assert repr(opponent("pgd", L2(1.0), steps=3)) == repr(pgd(L2(1.0), steps=3).with_goal(Last()))


BAD = {
    "alpha": (lambda: mixed(Linf(0.3), alpha=1.2), r"expected alpha as a number in \[0, 1\], got 1.2"),
    "alpha of a lesson": (lambda: Mixed(-0.1), r"expected alpha as a number in \[0, 1\]"),
    "beta": (lambda: trades(Linf(0.3), beta=-1), "expected beta as a number >= 0, got -1"),
    "beta of mart": (lambda: mart(Linf(0.3), beta=math.nan), "expected beta as a number >= 0"),
    "weight": (lambda: logit_pairing(Linf(0.3), weight=-0.5), "expected weight as a number >= 0"),
    "weight of clean pairs": (lambda: logit_pairing(Linf(0.3), weight=-1, pairing="clean"), "expected weight"),
    "weight of guided": (lambda: guided(Linf(0.3), weight=math.inf), "expected weight as a number >= 0"),
    "growth": (lambda: guided(Linf(0.3), growth=0), "expected growth as a number > 0"),
    "noise": (lambda: logit_pairing(Linf(0.3), pairing="clean", noise=-1), "expected noise as a number >= 0"),
    "another norm": (lambda: guided(L2(1.0)), "expected Linf for guided"),
    "pairing": (lambda: logit_pairing(Linf(0.3), pairing="cleen"), "expected the name of a pairing.*clean"),
    "attack of clean pairs": (
        lambda: logit_pairing(Linf(0.3), pairing="clean", attack="pgd"),
        "expected no attack for clean logit pairing",
    ),
    "noise of adversarial pairs": (lambda: logit_pairing(Linf(0.3), noise=0.1), "expected no noise for adversarial"),
    "objective": (lambda: objective("trade", Linf(0.3)), "expected the name of an objective, got 'trade'.*trades"),
    "setting": (lambda: objective("trades", Linf(0.3), bta=1), "setting of trades, got 'bta'.*beta"),
    "attack": (lambda: madry(Linf(0.3), attack="pgdd"), "expected the name of an attack, got 'pgdd'.*pgd"),
    "cascade": (lambda: madry(Linf(0.3), attack="autoattack"), "autoattack, which is several attacks in one"),
    "cascade recipe": (lambda: madry(Linf(0.3), attack=autoattack), "autoattack, which is several attacks"),
    "universal": (lambda: madry(Linf(0.3), attack="universal"), "universal, which is several .* learns from many"),
    "decisions": (lambda: madry(L2(1.0), attack="hopskipjump"), "hopskipjump, which finds what is smallest"),
    "smallest": (lambda: madry(L2(1.0), attack="ddn"), "ddn, which finds what is smallest"),
    "no ball": (lambda: madry(Linf(1.0), attack="patch"), "patch, which finds what is outside every ball"),
    "another model": (lambda: madry(Linf(0.3), attack="transfer"), "transfer, which needs another model"),
    "steps of fgsm": (lambda: mixed(Linf(0.3), steps=3), "expected no steps for fgsm, which has none"),
    "size of fgsm": (lambda: mixed(Linf(0.3), size=0.1), "expected no size for fgsm"),
    "steps that are none": (lambda: madry(Linf(0.3), steps=0), "expected steps as a whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_settings_that_are_none_are_told_in_one_sentence(case: str) -> None:
    make, told = BAD[case]
    with pytest.raises(InputError, match=told):
        make()


def test_the_catalogue_makes_every_objective_and_each_says_its_own() -> None:
    made = {name: objective(name, Linf(EPS)) for name in catalogue}
    assert set(OURS) <= set(made)
    assert len({repr(one) for one in made.values()}) == len(made)
    assert repr(objective("trades", Linf(EPS), beta=1)) != repr(made["trades"])
    assert "0x" not in "".join(map(repr, made.values()))
    assert isinstance(made["madry"], Adversarial)
    assert repr(made["madry"]) == repr(Adversarial(attack=pgd(Linf(EPS)).with_goal(Last()), val=pgd(Linf(EPS))))
