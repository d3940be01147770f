"""The same model, images and settings in well-known libraries: never weaker than they are."""

import warnings

import pytest
import torch
from torch import nn

from steelman.attacks import at_input, fgsm, pgd
from steelman.norms import L2, Linf

N, STEPS = 200, 20


def peer(name):
    """A peer, whose own import may warn of whatever it likes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            name, reason=f"{name} is not installed: pip install --no-deps {name}", exc_type=ImportError
        )


@pytest.fixture(scope="module")
def subject():
    """A model with curvature enough for steps to matter, and images that it classifies correctly."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)
        ).eval()
        x = torch.rand(N, 1, 8, 8)
    return model, x, model(x).argmax(1)


def eps_that_breaks_half(model, x, y, attack):
    """Where both sides differ if they differ anywhere."""
    low, high = 0.0, 8.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if attack(middle)(model, x, y).accuracy < 0.5 else (middle, high)
    return high


def rule_of(name, eps, settings):
    return {
        "fgsm": lambda: fgsm(Linf(eps)),
        "pgd": lambda: pgd(Linf(eps), steps=STEPS, size=eps / 8, **settings),
        "pgd-l2": lambda: pgd(L2(eps), steps=STEPS, size=eps / 8, **settings),
    }[name]()


def of_torchattacks(torchattacks, name, model, x, y, eps, *, random):
    attack = {
        "fgsm": lambda: torchattacks.FGSM(model, eps=eps),
        "pgd": lambda: torchattacks.PGD(model, eps=eps, alpha=eps / 8, steps=STEPS, random_start=random),
        "pgd-l2": lambda: torchattacks.PGDL2(model, eps=eps, alpha=eps / 8, steps=STEPS, random_start=random),
    }[name]()
    return attack(x, y)


def of_foolbox(foolbox, name, model, x, y, eps, *, random):
    attack = {
        "fgsm": lambda: foolbox.attacks.LinfFastGradientAttack(random_start=False),
        "pgd": lambda: foolbox.attacks.LinfPGD(abs_stepsize=eps / 8, steps=STEPS, random_start=random),
        "pgd-l2": lambda: foolbox.attacks.L2PGD(abs_stepsize=eps / 8, steps=STEPS, random_start=random),
    }[name]()
    _, x, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=eps)
    return x


LIBRARIES = {"torchattacks": of_torchattacks, "foolbox": of_foolbox}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd-l2"])
@pytest.mark.parametrize("random", [False, True], ids=["from the input", "at random"])
def test_no_peer_breaks_more(subject, library, name, random):
    installed = peer(library)
    model, x, y = subject
    settings = {} if random else {"start": at_input}
    eps = eps_that_breaks_half(model, x, y, lambda eps: rule_of(name, eps, settings))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = model(LIBRARIES[library](installed, name, model, x, y, eps, random=random)).argmax(1) != y
    ours = rule_of(name, eps, settings)(model, x, y).broken
    assert 0.4 < float(ours.double().mean()) < 0.6
    assert int(theirs.sum()) > 0
    noise = 2 * (N * 0.5 * 0.5) ** 0.5 if random else 1
    assert int(ours.sum()) >= int(theirs.sum()) - noise
