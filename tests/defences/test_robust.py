"""The two purifiers that are to hold when the attacker knows them: what they draw, and what can be proved of it."""

import pytest
import torch
from torch import nn

from steelman import bounds
from steelman.defences import CertifiedAutoencoder, RobustAutoencoder, guard
from steelman.defences.robust import drawn
from steelman.errors import InputError
from steelman.evaluation.planning.attacker import probe_pipeline


def images(n=6):
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))


EPS = 2e-4


class Brightness(nn.Module):
    """Reads the class off the brightness of an image: class k where the mean is nearest to k / 9."""

    def forward(self, x):
        means = x.flatten(1).mean(1, keepdim=True)
        return -100 * (means - torch.arange(10) / 9) ** 2


def certified(trace=1e-6, **settings):
    torch.manual_seed(0)
    purifier = CertifiedAutoencoder(width=2, hidden=8, trace=trace, **settings).eval()
    with torch.no_grad():
        purifier.judge.head.weight.mul_(30)
        purifier.examples.copy_((torch.arange(10) / 9)[:, None, None, None].expand(10, 1, 28, 28))
    return purifier


def test_a_class_that_leads_is_drawn_whole():
    purifier, x = certified(lead=1e-4), images()
    logits = purifier.judge(x)
    first, second = logits.topk(2).values.unbind(1)
    assert (first - second > 1e-4).all()
    assert torch.allclose(purifier(x), purifier.examples[logits.argmax(1)], atol=1e-5)


def test_where_classes_are_close_the_drawing_is_pale():
    purifier, x = certified(lead=1e6), images()
    assert float(purifier(x).detach().max()) < 1e-4


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_paleness_is_the_lead_of_the_nearest_rival(share):
    """With two classes near each other and all others far, the leading one is drawn at 1 - (1 - lead)."""
    purifier = certified(lead=1.0)
    with torch.no_grad():
        purifier.judge.head.weight.zero_()
        purifier.judge.head.bias.copy_(torch.tensor([share, 0.0, *[-9.0] * 8]))
        purifier.examples.zero_()
        purifier.examples[0] = 1.0
    assert torch.allclose(purifier(images()), torch.full((6, 1, 28, 28), share), atol=1e-5)


def test_nobody_is_proved_whom_an_image_of_the_ball_turns():
    purifier = certified(lead=1e-3)
    pipeline, x = guard(purifier, Brightness()), images(40)
    y = pipeline(x).argmax(1)
    held = bounds.certify(_with_affine(purifier), x, y, EPS, methods=("ibp",)).holds
    assert held.any()
    assert not held.all()
    generator = torch.Generator().manual_seed(3)
    for _ in range(50):
        moved = (x + EPS * (2 * torch.randint(0, 2, x.shape, generator=generator) - 1)).clamp(0, 1)
        assert torch.equal(pipeline(moved).argmax(1)[held], y[held])


def _with_affine(purifier):
    """The pipeline with a linear classifier, as bounds know it; it reads an even grey as Brightness does."""
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    grey = torch.arange(10) / 9
    with torch.no_grad():
        classifier[1].weight.copy_((200 * grey / 784)[:, None].expand(10, 784))
        classifier[1].bias.copy_(-100 * grey**2)
    return guard(purifier, classifier)


def test_its_trace_leads_a_gradient_through_where_the_drawing_is_flat():
    purifier, x = certified(lead=1e-4), images().requires_grad_()
    purifier(x).pow(2).sum().backward()
    assert not (x.grad.flatten(1) == 0).all(1).any()


def test_a_drawing_stays_an_image_and_what_is_sure_is_told_as_it_says():
    purifier, x = certified(lead=1e-4, trace=0.01), images()
    purifier.judge.head.weight.data.mul_(100)
    assert 0 <= float(purifier(x).detach().min()) < float(purifier(x).detach().max()) <= 1
    told, most = purifier.sure()
    expected = drawn(told, purifier.examples)[purifier.judge(x).argmax(1)]
    apart = (purifier(x) - expected).abs().amax().item()
    assert 0 < apart <= most * float(purifier.examples.flatten(1).sum(0).max())


def test_its_stand_in_is_flat_nowhere_and_draws_the_same_where_one_class_is_sure():
    purifier, x = certified(lead=1e-4), images()
    stand_in = purifier.backward_approximations()["shares"]
    with torch.no_grad():
        expected = torch.einsum("nk,kchw->nchw", purifier.judge(x).softmax(1), purifier.examples)
        assert torch.allclose(stand_in(x), expected, atol=1e-6)
        purifier.judge.head.weight.mul_(1e4)
        assert torch.allclose(stand_in(x), purifier(x), atol=1e-4)


def test_an_attacker_who_knows_takes_the_stand_in():
    purifier, x = certified(lead=1e-4), images()
    attacker = probe_pipeline(_with_affine(purifier), x, torch.zeros(6, dtype=torch.int64))
    assert any("shares" in path.title for path in attacker.paths)
    (judged,) = (path for path in attacker.paths if "its judge" in path.title)
    assert torch.equal(judged.gradient.stand_in(x), purifier.judge(x))
    assert not attacker.gradient_masked


@pytest.mark.parametrize("kind", [RobustAutoencoder, CertifiedAutoencoder])
def test_an_attacker_is_told_that_the_ramps_gradient_is_a_stand_in(kind):
    torch.manual_seed(0)
    purifier = kind(width=2, hidden=8).eval()
    stage, _ = probe_pipeline(guard(purifier, Brightness()), images(), torch.zeros(6, dtype=torch.int64)).stages
    assert stage.gradient == "BPDA"


def test_it_draws_the_clearest_image_of_each_class():
    purifier = certified()
    x, y, clear = images(40), torch.arange(40) % 10, torch.arange(40.0)
    purifier.learn(x, y, clear)
    assert torch.equal(purifier.examples, x[30:])
    clear[y == 3] = -1
    with pytest.raises(InputError, match=r"class 3 .* found none in 4"):
        purifier.learn(x, y, clear)


@pytest.mark.parametrize("wrong", [{"lead": 0.0}, {"trace": 0.0}, {"trace": 0.5}])
def test_a_certified_one_refuses_what_it_cannot_be(wrong):
    with pytest.raises(InputError, match="expected lead > 0 and trace in"):
        CertifiedAutoencoder(**wrong)


def test_a_robust_one_draws_from_its_reading_and_its_style():
    torch.manual_seed(0)
    purifier = RobustAutoencoder(width=4, hidden=8, style=3, paint=4).eval()
    drawn, logits = purifier.read(images())
    assert torch.equal(drawn, purifier(images()))
    assert torch.allclose(logits, purifier.judge(images()), atol=1e-6)
    with torch.no_grad():
        for parameter in purifier.paint[0].parameters():
            parameter.zero_()
    plain = purifier(images())
    assert torch.equal(plain, plain[:1].expand_as(plain))


def test_a_robust_one_refuses_a_side_that_its_decoder_cannot_draw():
    with pytest.raises(InputError, match="expected side as a multiple of 4, got 30"):
        RobustAutoencoder(side=30)
