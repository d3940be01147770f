"""What a Bayesian auto-encoder is trained on, its whole training, and its command."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman import defences, models, weights
from steelman.attacks import fgsm
from steelman.cli import main
from steelman.data import Images
from steelman.defences import BayesianAutoencoder, UNetPurifier
from steelman.errors import InputError
from steelman.norms import Linf
from steelman.training import Purify, seeded
from steelman.training.objectives.bayesian import PurifyMembers, separation


def images(n: int = 16, side: int = 8) -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(n, 1, side, side, generator=generator), torch.arange(n) % 3, ("a", "b", "c"), "noise")


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval().requires_grad_(False)


def small(members: int = 3) -> BayesianAutoencoder:
    torch.manual_seed(2)
    return BayesianAutoencoder(members=members, width=4, code=4, depth=1, noise=0.0)


def objective(likelihood: float = 0.1, fidelity: float = 4.0) -> PurifyMembers:
    purify = Purify(classifier=linear(), attacks=(), val=(fgsm(Linf(0.3)),), fidelity=fidelity)
    return PurifyMembers(purify=purify, likelihood=likelihood)


def test_the_loss_is_reading_error_and_likelihood_of_every_member() -> None:
    net, judged, (x, y) = small(), objective(), (images().x, images().y)
    torch.manual_seed(3)
    loss = judged.loss(net, (x, y))
    means, deviations = net.answers(x)
    torch.manual_seed(3)
    member = torch.randint(3, (len(x),))
    read = torch.stack([means[at, m] for at, m in enumerate(member.tolist())])
    wanted = F.cross_entropy(linear()(read), y)
    for m in range(3):
        wanted = wanted + 4 * F.mse_loss(means[:, m], x) / 3
        normal = torch.distributions.Normal(means[:, m], deviations[:, m])
        wanted = wanted - 0.1 * (normal.log_prob(x).mean() + 0.5 * math.log(2 * math.pi)) / 3
    assert torch.allclose(loss, wanted, atol=1e-5)


def test_the_likelihood_does_not_move_the_means() -> None:
    net, (x, y) = small(), (images().x, images().y)
    net.requires_grad_(True)
    grads = []
    for likelihood in (0.0, 5.0):
        means: list[torch.Tensor] = []

        def keep(given: torch.Tensor, means: list[torch.Tensor] = means) -> tuple[torch.Tensor, torch.Tensor]:
            found = BayesianAutoencoder.answers(net, given)
            found[0].retain_grad()
            means.append(found[0])
            return found

        net.answers = keep  # type: ignore[method-assign]
        torch.manual_seed(0)
        objective(likelihood).loss(net, (x, y)).backward()
        assert means[0].grad is not None
        grads.append(means[0].grad)
    assert torch.equal(*grads)


def test_a_deviation_learns_the_error_of_its_mean() -> None:
    """Untrained, the mean is halfway between a black or white image and grey, so that every error is a quarter."""
    net = small(1)
    nn.init.zeros_(net.leave.weight)
    x = (torch.rand(8, 1, 8, 8) < 0.5).float()
    slopes = {}
    for deviation in (0.2, 0.25, 0.3):
        nn.init.zeros_(net.leave.bias)
        with torch.no_grad():
            net.leave.bias[8:] = torch.logit(torch.tensor(math.log(deviation) / math.log(0.01)))
        net.zero_grad()
        objective(1.0, fidelity=0.0).loss(net, (x, torch.zeros(8, dtype=torch.int64))).backward()
        assert torch.allclose(net.answers(x)[1], torch.tensor(deviation))
        assert net.leave.bias.grad is not None
        slopes[deviation] = float(net.leave.bias.grad[8:].sum())
    assert slopes[0.25] == pytest.approx(0, abs=1e-5)
    assert slopes[0.2] > 0.01  # a larger bias is a smaller deviation
    assert slopes[0.3] < -0.01


def test_it_is_judged_by_the_mean_image_and_by_what_the_uncertainty_tells_apart() -> None:
    net, examples = small().eval(), images()
    judged = objective()
    scores = judged.validate(net, examples)
    assert list(scores) == ["mean", "clean", "fgsm 0.3", "AUC fgsm 0.3"]
    assert {key: scores[key] for key in list(scores)[:3]} == judged.purify.validate(net, examples)
    x_adv = fgsm(Linf(0.3))(linear(), examples.x, examples.y).x
    unsure = net.uncertainty(examples.x).tolist(), net.uncertainty(x_adv).tolist()
    below = [1.0 if a < b else 0.5 if a == b else 0.0 for a in unsure[0] for b in unsure[1]]
    assert scores["AUC fgsm 0.3"] == pytest.approx(sum(below) / len(below))


def test_separation_is_the_share_of_pairs_in_order() -> None:
    low, high = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0, 0.0])
    assert separation(low, high) == pytest.approx((1 + 1 + 0 + 0.5 + 1 + 0) / 6)
    assert separation(low, low) == 0.5
    assert separation(torch.zeros(3), torch.ones(2)) == 1


def test_another_purifier_is_turned_away() -> None:
    with pytest.raises(InputError, match="expected a BayesianAutoencoder, whose members are trained, got UNetPurifier"):
        objective().loss(UNetPurifier(width=4, code=4), (images().x, images().y))


def test_the_command_trains_one_and_keeps_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "net.safetensors"
    line = (
        f"train purifier --purifier bayesian-autoencoder --classifier mnist/cnn --share 0.0004 --epochs 1 --out {out}"
    )
    assert main(line.split()) == 0
    net = defences.load(out)
    assert isinstance(net, BayesianAutoencoder)
    with seeded(0):
        assert weights.digest(net) != weights.digest(BayesianAutoencoder())
    _, settings = weights.read(out)
    assert settings["defence"] == "bayesian-autoencoder"
    assert settings["classifier"] == weights.digest(models.load("mnist/cnn"))
    assert settings["trained_on"] == 24
    validation = settings["validation"]
    assert isinstance(validation, dict)
    assert "AUC pgd 0.15" in validation
