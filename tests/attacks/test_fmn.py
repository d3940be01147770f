"""FMN: the loop of its paper in four norms, the optimum of a linear model, and its peers."""

import math
import warnings

import pytest
import torch

from steelman.attacks import Last, fmn
from steelman.errors import InputError
from steelman.norms import L0, L1, L2, Linf

from .test_closed_forms import linear, points, smallest, wide
from .test_peers import peer, subject  # noqa: F401
from .test_reference_loops import Recorder, images, network

ORDER = {L0: 0, L1: 1, L2: 2, Linf: math.inf}
DUAL = {L1: math.inf, L2: 2, Linf: 1}


def into_ball(norm, delta, eps):
    """The nearest point of a ball to one flat change; that of L1 by bisection on the cut."""
    if norm is L0:
        kept = torch.zeros_like(delta)
        chosen = delta.abs().topk(int(eps)).indices
        kept[chosen] = delta[chosen]
        return kept
    if norm is Linf:
        return delta.clamp(-eps, eps)
    if norm is L2:
        return delta * min(1, eps / float(delta.norm()))
    low, high = 0.0, float(delta.abs().max())
    if delta.abs().sum() <= eps:
        return delta
    for _ in range(80):
        cut = (low + high) / 2
        low, high = (cut, high) if (delta.abs() - cut).clamp_min(0).sum() > eps else (low, cut)
    return delta.sign() * (delta.abs() - high).clamp_min(0)


def loop(model, x, y, norm, steps, alpha, sign, *, cross):
    """Pintor et al. 2021, algorithm 1, one image at a time, with gamma from .05 to .001 and alpha to a hundredth."""
    shown, p = [], ORDER[norm]
    for clean, label in zip(x, y, strict=True):
        delta, own, best = torch.zeros_like(clean), [clean], math.inf
        eps = 1.0 if norm is L0 else 0.0
        worst = float(torch.maximum(clean, 1 - clean).flatten().norm(p=p))
        for k in range(steps):
            at = (clean + delta).requires_grad_()
            logits = model(at[None])[0]
            others = torch.cat([logits[:label], logits[label + 1 :]]).max()
            loss = sign * (others - logits[label])
            grad, loss = torch.autograd.grad(loss, at)[0], float(loss.detach())
            share = (1 + math.cos(math.pi * k / steps)) / 2
            gamma, length = 0.001 + 0.049 * share, float(delta.flatten().norm(p=p))
            if loss > 0:
                best = min(best, length)
                eps = min(math.floor(eps * (1 - gamma)), eps - 1, best) if norm is L0 else min(eps * (1 - gamma), best)
            elif norm is L0:
                eps = max(eps + 1, math.floor(eps * (1 + gamma)))
            elif best < math.inf:
                eps = eps * (1 + gamma)
            else:
                gap = abs(loss) / float(grad.flatten().norm(p=DUAL[norm]))
                eps = max(length + 2 * gap, eps * (1 + gamma)) if cross else length + gap
            eps = min(max(eps, 0), worst)
            delta = delta + alpha * (0.01 + 0.99 * share) * grad / grad.norm()
            delta = (clean + into_ball(norm, delta.flatten(), eps).view_as(clean)).clamp(0, 1) - clean
            own.append(clean + delta)
        shown.append(torch.stack(own))
    return torch.stack(shown, 1)


@pytest.mark.parametrize("norm", ORDER)
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("targeted", [False, True])
def test_iterates_are_those_of_the_paper(norm, cross, targeted):
    model = network()
    x, y = images(model, 5)
    y = (y + 1) % 4 if targeted else y
    steps = 10 if cross or norm is L0 else 3  # the paper's rule is Newton's, and soon at the mercy of rounding
    recorder = Recorder(model)
    fmn(norm(), steps=steps, cross=cross, targeted=targeted).with_goal(Last())(recorder, x, y)
    expected = loop(model, x, y, norm, steps, 10 if norm is Linf else 1, -1 if targeted else 1, cross=cross)
    assert torch.allclose(torch.stack(recorder.shown), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("norm", [Linf, L2, L1])
@pytest.mark.parametrize("targeted", [False, True])
def test_it_finds_the_nearest_point_of_a_plane(norm, targeted):
    model = linear(2)
    x, y = points(model)
    result = fmn(wide(norm()), targeted=targeted)(model, x, 1 - y if targeted else y)
    assert result.broken.all()
    assert (result.distance <= 1.05 * smallest(norm, model, x, y)).all()


def test_the_papers_radius_stops_short_of_a_boundary_that_bends_away():
    """Newton's steps from one side of a concave margin approach its root and never pass it."""
    x = torch.full((4, 6), 0.5, dtype=torch.float64)
    x[:, 0] -= torch.linspace(0, 0.1, 4)
    y = torch.zeros(4, dtype=torch.int64)

    def bowl(x):
        rise = 1 - torch.exp(-3 * (x - 0.5).sum(1)) - 0.5
        return torch.stack([torch.zeros_like(rise), rise], 1)

    def hollow(x):
        rise = torch.log1p((x - 0.2).clamp_min(0).square().sum(1)) - 0.7
        return torch.stack([torch.zeros_like(rise), rise], 1)

    for model in (bowl, hollow):
        assert fmn(L2())(model, x, y).broken.all()
    assert not fmn(L2(), cross=False)(bowl, x, y).broken.all()


@pytest.mark.parametrize("norm", ORDER)
@pytest.mark.parametrize("library", ["adv_lib.attacks", "foolbox"])
def test_no_peer_needs_less(subject, norm, library):  # noqa: F811
    installed = peer(library)
    model, x, y = subject
    step = 10.0 if norm is Linf else 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "foolbox":
            kind = {L0: "L0", L1: "L1", L2: "L2", Linf: "LInf"}[norm]
            attack = getattr(installed.attacks, f"{kind}FMNAttack")(steps=50, max_stepsize=step)
            theirs = attack.run(installed.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y)
        else:
            theirs = installed.fmn(model, x, y, norm=ORDER[norm], steps=50, α_init=step)
    needed = torch.where(model(theirs).argmax(1) != y, (theirs - x).flatten(1).norm(p=ORDER[norm], dim=1), torch.inf)
    ours = fmn(norm(), steps=50)(model, x, y)
    assert int(ours.broken.sum()) >= int(needed.isfinite().sum())
    assert ours.needed.median() <= 1.01 * needed.median()


@pytest.mark.parametrize(
    "bad",
    [{"steps": 0}, {"gamma_init": 1.0}, {"gamma_final": 0.0}, {"alpha_init": 0.0}, {"alpha_final": -1.0}, {"cross": 2}],
)
def test_settings_that_make_no_attack_are_errors(bad):
    with pytest.raises(InputError, match="expected"):
        fmn(L2(), **bad)
