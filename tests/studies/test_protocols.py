"""The two protocols against plain loops, and the published figures against the document."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from steelman.studies import published
from steelman.studies.protocols import AS_PUBLISHED, STATIC


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 5)]
    return nn.Sequential(*layers).double()


def batch(n: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(n) % 5


def plain_pgd(model: nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    delta = torch.zeros_like(x, requires_grad=True)
    for _ in range(40):
        loss = F.cross_entropy(model(x + delta), y)
        (grad,) = torch.autograd.grad(loss, delta)
        delta = (delta + 0.01 * grad.sign()).clamp(-eps, eps).detach().requires_grad_()
    return (x + delta).detach()


def test_published_pgd_is_a_plain_loop_in_training_mode_in_batches_of_64_and_leaves_the_box() -> None:
    x, y = batch()
    model = network().train()
    expected = torch.cat([plain_pgd(model, a, b, 0.15) for a, b in zip(x.split(64), y.split(64), strict=True)])
    found = AS_PUBLISHED.attack("pgd", 0.15)(network().eval(), x, y, mode=AS_PUBLISHED.mode, slots=AS_PUBLISHED.slots)
    assert torch.allclose(found.x, expected, atol=1e-12)
    assert found.x.min() < 0
    assert found.x.max() > 1


def test_published_fgsm_ascends_the_negative_raw_logit_and_is_clipped() -> None:
    x, y = batch(64)
    model = network().train()
    z = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(F.nll_loss(model(z), y), z)
    expected = (x + 0.6 * grad.sign()).clamp(0, 1)
    found = AS_PUBLISHED.attack("fgsm", 0.6)(network().eval(), x, y, mode=AS_PUBLISHED.mode, slots=AS_PUBLISHED.slots)
    assert torch.allclose(found.x, expected, atol=1e-12)
    softmax = STATIC.attack("fgsm", 0.6)(network().eval(), x, y, mode=AS_PUBLISHED.mode, slots=64).x
    assert not torch.allclose(softmax, expected)


def test_published_fgsm_beyond_one_is_the_same_for_every_eps() -> None:
    x, y = batch(8)
    one, more = (AS_PUBLISHED.attack("fgsm", eps)(network().eval(), x, y).x for eps in (1.0, 1.5))
    assert torch.equal(one, more)


def test_static_attacks_stay_inside_ball_and_box() -> None:
    x, y = batch()
    for attack, eps in (("fgsm", 0.6), ("pgd", 0.15)):
        found = STATIC.attack(attack, eps)(network(), x, y, mode=STATIC.mode)
        assert (found.x - x).abs().max() <= eps + 1e-9
        assert found.x.min() >= 0
        assert found.x.max() <= 1


def test_a_sweep_finds_what_each_eps_finds_alone() -> None:
    x, y = batch(70)
    for protocol in (AS_PUBLISHED, STATIC):
        passes: list[float] = []
        found = protocol.sweep(
            network(),
            x,
            y,
            (0.05, 0.3, 0.1),
            seed=0,
            progress=lambda now, passes=passes: passes.append(now.done / now.total),
        )
        for eps, result in found.items():
            alone = protocol.attack("pgd", eps)(network(), x, y, mode=protocol.mode, slots=protocol.slots)
            assert torch.allclose(result.x, alone.x, atol=1e-9)
            assert torch.equal(result.broken, alone.broken)
        assert passes == sorted(passes)
        assert passes[-1] == 1.0


def test_published_figures_are_the_documents() -> None:
    assert published.undefended("mnist", "fgsm", 0) == 0.9901
    assert published.undefended("fashion-mnist", "pgd", 0) == 0.9206
    assert published.undefended("mnist", "fgsm", 1.5) == 0.0523
    assert published.undefended("fashion-mnist", "pgd", 0.15) == 0.2942
    assert published.undefended("fashion-mnist", "fgsm", 0.15) is None
    assert published.guarded("mnist", "pgd", 0.15) == 0.9406
    assert published.guarded("mnist", "pgd", 0.2) is None
    for dataset in published.DATASETS:
        for attack, all_eps in (("fgsm", published.FGSM_EPS), ("pgd", published.PGD_EPS)):
            figures = [published.undefended(dataset, attack, eps) for eps in (0, *all_eps)]
            assert None not in figures
            assert figures == sorted(figures, reverse=True)
