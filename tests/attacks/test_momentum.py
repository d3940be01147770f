"""MI-FGSM against a loop written from its paper, on a linear model, and beside torchattacks and ART."""

import pytest
import torch
from torch import nn

from steelman.attacks import Last, bim, mifgsm
from steelman.errors import InputError
from steelman.losses import margin
from steelman.norms import L1, L2, Linf
from steelman.threat import Threat

from .test_peers import eps_that_breaks_half, peer, subject  # noqa: F401
from .test_reference_loops import Recorder, gradient, images, network

EPS = {Linf: 0.1, L2: 0.4}


def iterate(model, clean, y, norm, eps, steps, decay, sign):
    """Dong et al. 2018, algorithm 1 and section 3.3, on one image."""
    x, g = clean, torch.zeros_like(clean)
    for _ in range(steps):
        yield x
        grad = sign * gradient(model, x[None], y[None])[0]
        g = decay * g + grad / grad.abs().sum()
        x = x + eps / steps * (g.sign() if norm is Linf else g / g.norm())
        if norm is L2:
            delta = x - clean
            x = clean + delta * min(1.0, eps / float(delta.norm()))
        x = x.clamp(0, 1)
    yield x


@pytest.mark.parametrize("norm", [Linf, L2])
@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("targeted", [False, True])
def test_iterates_are_those_of_the_paper(norm, decay, targeted):
    model = network()
    x, y = images(model)
    y = (y + 1) % 4 if targeted else y
    recorder = Recorder(model)
    attack = mifgsm(norm(EPS[norm]), momentum=decay, targeted=targeted).with_goal(Last())
    result = attack(recorder, x, y)
    assert len(recorder.shown) == 11
    seen = torch.stack(recorder.shown)
    for i in range(len(x)):
        expected = torch.stack(list(iterate(model, x[i], y[i], norm, EPS[norm], 10, decay, sign=-1 if targeted else 1)))
        assert torch.allclose(seen[:, i], expected, rtol=0, atol=1e-12)
    assert torch.equal(result.x, seen[-1])


def test_the_size_of_a_gradient_decides_and_not_its_sign_alone():
    """A library that takes the sign before the momentum follows two small gradients against a large one."""

    class Valley(nn.Module):
        """Its gradient is large on the clean image and small and turned around elsewhere, in the first entry alone."""

        def forward(self, x):
            first = torch.where(x[:, 0] == 0.5, x[:, 0], -0.01 * x[:, 0])
            rest = torch.where(x[:, 0] == 0.5, 0.0, 5.0) * x[:, 1]
            return torch.stack([torch.ones_like(first) * 20, first + rest], 1)

    x = torch.full((1, 2), 0.5, dtype=torch.float64)
    recorder = Recorder(Valley())
    mifgsm(Linf(0.1), steps=4)(recorder, x, torch.zeros(1, dtype=torch.int64))
    first = [float(shown[0, 0]) for shown in recorder.shown]
    assert first == pytest.approx([0.5, 0.525, 0.55, 0.575, 0.6])


def test_without_momentum_it_is_bim():
    model = network()
    x, y = images(model)
    one = mifgsm(Linf(0.1), momentum=0.0).with_goal(Last())(model, x, y)
    other = bim(Linf(0.1), steps=10).with_goal(Last())(model, x, y)
    assert torch.allclose(one.x, other.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("norm", [Linf, L2])
def test_gradients_of_any_size_and_none_are_followed(scale, norm):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 2, generator=generator) * scale
    x, y = torch.rand(20, 6, generator=generator), torch.zeros(20, dtype=torch.int64)

    def loss(logits, y):
        return margin(logits, y) * (torch.arange(20) > 4)

    attack = mifgsm(norm(0.2), loss=loss).with_goal(Last())
    result = attack(lambda x: x @ weight, x, y)
    assert torch.isfinite(result.x).all()
    assert torch.equal(result.x[:5], x[:5])
    assert (result.distance[5:] > 0.1).all()


@pytest.mark.parametrize("norm", [Linf, L2])
@pytest.mark.parametrize("targeted", [False, True])
def test_with_room_it_needs_what_the_dual_norm_says(norm, targeted):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(12, 2).double()
    x = torch.rand(40, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = model(x).argmax(1)
    weight = (model.weight[0] - model.weight[1]).detach()
    least = -margin(model(x), y).detach() / weight.norm(p={Linf: 1, L2: 2}[norm])
    for eps, breaks in ((1.001, True), (0.999, False)):
        threat = Threat(norm(eps * least), low=-1e3, high=1e3)
        result = mifgsm(threat, targeted=targeted)(model, x, 1 - y if targeted else y)
        assert (result.broken == breaks).all()


@pytest.mark.parametrize("bad", [{"steps": 0}, {"momentum": -1.0}, {"momentum": float("nan")}, {"momentum": True}])
def test_settings_that_make_no_attack_are_errors(bad):
    with pytest.raises(InputError, match="expected"):
        mifgsm(Linf(0.1), **bad)
    with pytest.raises(InputError, match="expected Linf or L2 for mi-fgsm"):
        mifgsm(L1(0.1))


def test_torchattacks_breaks_no_more(subject):  # noqa: F811
    library = peer("torchattacks")
    model, x, y = subject
    eps = eps_that_breaks_half(model, x, y, lambda eps: mifgsm(Linf(eps)))
    theirs = model(library.MIFGSM(model, eps=eps, alpha=eps / 10, steps=10, decay=1.0)(x, y)).argmax(1) != y
    ours = mifgsm(Linf(eps))(model, x, y).broken
    assert 0.4 < float(theirs.double().mean()) < 0.6
    assert int(ours.sum()) >= int(theirs.sum())


def test_foolbox_breaks_no_more(subject):  # noqa: F811
    """Its own takes the sign before the momentum."""
    library = peer("foolbox")
    model, x, y = subject
    for norm, kind in (
        (Linf, "LinfMomentumIterativeFastGradientMethod"),
        (L2, "L2MomentumIterativeFastGradientMethod"),
    ):
        eps = eps_that_breaks_half(model, x, y, lambda eps, norm=norm: mifgsm(norm(eps)))
        attack = getattr(library.attacks, kind)(momentum=1.0, abs_stepsize=eps / 10, steps=10)
        _, found, _ = attack(library.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=eps)
        ours = mifgsm(norm(eps))(model, x, y).broken
        assert int(ours.sum()) >= int((model(found).argmax(1) != y).sum()) - 1
