"""Training a purifier through the pipeline: the loss written out, whom the attack sees, and that it helps."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman import training
from steelman.attacks import Last, at_input, fgsm, pgd
from steelman.data import Images
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import Linf
from steelman.pipeline import Pipeline
from steelman.training import EndToEndPurifierLoss, Recipe, fit
from steelman.training.objectives import Weights
from steelman.training.objectives.trades import divergence

EPS = 0.1


def batch(n=12):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


def classifier():
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 20), nn.Tanh(), nn.Linear(20, 3)).eval().requires_grad_(False)


def purifier():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid())


class Judging(nn.Module):
    """A purifier that reads by itself."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.judge = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        self.draw = nn.Linear(3, 16)

    def read(self, x):
        logits = self.judge(x)
        return torch.sigmoid(self.draw(logits.softmax(1))).view_as(x), logits

    def forward(self, x):
        return self.read(x)[0]


def through(frozen, **settings):
    """Attacked by one step from the image, without randomness, so that what it made can be made again."""
    attack = pgd(Linf(EPS), steps=1, size=EPS, start=at_input).with_goal(Last())
    return EndToEndPurifierLoss(classifier=frozen, attack=attack, val=pgd(Linf(EPS), steps=5), ramp=0.0, **settings)


def stepped(model, x, y, eps=EPS):
    """The image after one signed step of eps up the cross-entropy."""
    x = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)
    return (x + eps * grad.sign()).clamp(0, 1).detach()


def test_the_loss_is_the_papers_and_ours_part_by_part():
    frozen, model, (x, y) = classifier(), purifier(), batch()
    counts = Weights(clean=0.3, fidelity=2.0, consistency=1.5, pairing=0.7)
    found = through(frozen, weights=counts).loss(model, (x, y))
    bad = stepped(nn.Sequential(model, frozen), x, y)
    x_adv, clean = frozen(model(bad)), frozen(model(x))
    expected = F.cross_entropy(x_adv, y) + 0.3 * F.cross_entropy(clean, y)
    expected = expected + 2 * F.mse_loss(torch.cat([model(bad), model(x)]), torch.cat([x, x]))
    expected = expected + 1.5 * divergence(clean, x_adv).mean() + 0.7 * F.mse_loss(clean, x_adv)
    assert torch.allclose(found, expected, rtol=1e-5)


def test_early_the_attack_sees_the_purifiers_own_reading_alone():
    frozen, model, (x, y) = classifier(), Judging(), batch()
    objective = through(frozen, early=0.5, weights=Weights(clean=0.3, own=2.0, fidelity=0.0))
    for done, target in ((0.49, model.judge), (0.5, nn.Sequential(model, frozen))):
        bad = stepped(target, x, y)
        own = 2 * (F.cross_entropy(model.judge(bad), y) + 0.3 * F.cross_entropy(model.judge(x), y))
        read = F.cross_entropy(frozen(model(bad)), y) + 0.3 * F.cross_entropy(frozen(model(x)), y)
        assert torch.allclose(objective.loss(model, (x, y), done), own + read, rtol=1e-5)


def test_the_worst_that_bounds_leave_possible_can_be_learnt_from():
    """On a linear judge the worst logits inside the ball have a closed form."""
    frozen, model, (x, y) = classifier(), Judging(), batch()
    objective = through(frozen, weights=Weights(clean=0.0, own=0.0, fidelity=0.0, bounds=2.0))
    plain = through(frozen, weights=Weights(clean=0.0, own=0.0, fidelity=0.0))
    rows = model.judge[1].weight[None] - model.judge[1].weight[y][:, None]
    low, high = (x - EPS).clamp(0, 1).flatten(1)[:, None], (x + EPS).clamp(0, 1).flatten(1)[:, None]
    worst = (rows.clamp_min(0) * high + rows.clamp_max(0) * low).sum(2) + model.judge[1].bias
    expected = plain.loss(model, (x, y)) + 2 * F.cross_entropy(worst[::2], y[::2])
    assert torch.allclose(objective.loss(model, (x, y)), expected, rtol=1e-4)


def test_another_attack_may_come_first():
    frozen, model, (x, y) = classifier(), Judging(), batch()
    weaker = pgd(Linf(EPS / 2), steps=1, size=EPS / 2, start=at_input).with_goal(Last())
    objective = through(frozen, early=0.5, first=weaker)
    assert torch.equal(objective.attacked(model, (x, y), 0.49).x_adv, stepped(model.judge, x, y, EPS / 2))
    both = nn.Sequential(model, frozen)
    assert torch.equal(objective.attacked(model, (x, y), 0.5).x_adv, stepped(both, x, y))
    assert repr(objective) != repr(through(frozen, early=0.5))


def test_the_usual_objective_takes_other_steps_and_another_loss():
    frozen = classifier()
    usual = training.through(frozen, Linf(0.25), reach=1.5)
    assert repr(usual.attack) == repr(pgd(Linf(0.375), steps=7, size=2.5 * 0.375 / 7).with_goal(Last()))
    assert usual.first is None
    other = training.through(frozen, Linf(0.25), reach=1.5, early_steps=1, loss=margin)
    assert repr(other.first) == repr(pgd(Linf(0.375), steps=1, size=1.25 * 0.375, loss=margin).with_goal(Last()))
    assert repr(other.attack) == repr(replace(usual.attack, loss=margin))
    assert repr(other.val) == repr(usual.val)
    for wrong in ({"steps": 0}, {"early_steps": 0}):
        with pytest.raises(InputError, match=f"expected {next(iter(wrong))} as a whole number"):
            training.through(frozen, Linf(0.25), **wrong)


def test_some_are_attacked_by_one_who_does_not_know_of_the_purifier():
    frozen, model, (x, y) = classifier(), purifier(), batch()
    oblivious = ((fgsm(Linf(0.0)).with_goal(Last()), 1.0),)
    objective = through(
        frozen, oblivious=oblivious, portion=0.5, weights=Weights(clean=0.0, oblivious=1.0, fidelity=0.0)
    )
    torch.manual_seed(0)
    made = objective.attacked(model, (x, y))
    assert made.oblivious.shape == (6, 1, 4, 4)
    moved = (made.oblivious - x[:6]).abs().flatten(1).amax(1)
    assert len(moved.unique()) == 6  # an eps of each image's own
    grads = stepped(frozen, x[:6], y[:6], 1e-3) - x[:6]
    free = (made.oblivious > 0) & (made.oblivious < 1) & (grads != 0)
    assert torch.equal((made.oblivious - x[:6]).sign()[free], grads.sign()[free])
    expected = F.cross_entropy(frozen(model(made.x_adv)), y) + F.cross_entropy(frozen(model(made.oblivious)), y[:6])
    assert torch.allclose(objective.reading(model, made), expected, rtol=1e-5)


def test_what_is_trained_together_is_the_pipeline():
    frozen, model, examples = classifier(), purifier(), batch()
    other = classifier().requires_grad_(True)
    pipeline = Pipeline(other, purifier=model)
    apart, together = through(frozen), through(frozen, together=True)
    assert torch.allclose(apart.loss(model, examples), together.loss(pipeline, examples))
    together.loss(pipeline, examples).backward()
    assert other[1].weight.grad is not None
    with pytest.raises(InputError, match="expected a Pipeline of purifier and classifier"):
        together.loss(nn.Flatten(), examples)


def test_a_purifier_that_does_not_read_has_no_early_part():
    with pytest.raises(InputError, match="say early=0"):
        through(classifier(), early=0.5).loss(purifier(), batch(), 0.1)


def test_the_modes_stay_as_they_were():
    frozen, model = classifier(), Judging().train()
    through(frozen).loss(model, batch())
    assert model.training
    assert not frozen.training


def test_it_teaches_a_purifier_to_withstand():
    """A classifier that reads one noisy pixel falls at once; the brightness of the rest tells the class robustly."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2
    x = 0.5 + (0.3 * (2 * y - 1))[:, None, None, None] + 0.1 * torch.randn(400, 1, 4, 4, generator=generator)
    x[:, :, 0, 0] = 0.5 + 0.04 * (2 * y - 1)[:, None]
    frozen = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval().requires_grad_(False)
    frozen[1].weight.zero_()
    frozen[1].weight[:, 0] = torch.tensor([-10.0, 10.0])
    frozen[1].bias.copy_(torch.tensor([5.0, -5.0]))
    images = Images(x.clamp(0, 1), y, ("dark", "bright"), "pixel")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Sigmoid(), nn.Unflatten(1, (1, 4, 4)))
    objective = through(frozen, weights=Weights(fidelity=0.0))
    assert fgsm(Linf(EPS))(frozen, images.x, y).accuracy == 0
    fit(model, objective, images, images, Recipe(epochs=12, rate=0.02, precision="fp32", batch_size=50))
    assert pgd(Linf(EPS))(nn.Sequential(model, frozen), images.x, y).accuracy > 0.9


@pytest.mark.parametrize("wrong", [{"early": 1.5}, {"portion": -0.1}])
def test_shares_out_of_their_range_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        through(classifier(), **wrong)


def test_a_negative_weight_is_refused():
    with pytest.raises(InputError, match="fidelity"):
        Weights(fidelity=-1.0)
