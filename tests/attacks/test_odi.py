"""Output-diversified starts: two moves along a random direction of the logits, then the attack itself."""

import pytest
import torch

from steelman.attacks import Last, at_given, diversified, odi, pgd
from steelman.attacks.engine.problem import Problem
from steelman.errors import InputError
from steelman.norms import Linf
from steelman.streams import Streams
from steelman.threat import Threat

from .conformance import Network, images
from .test_gama import Recorder

EPS = 0.1


def test_the_first_moves_follow_the_outputs_and_the_rest_the_margin():
    model = Network()
    x, y, _ = images(model, 12)
    recorder = Recorder(model)
    odi(Linf(EPS), steps=3, restarts=1).with_goal(Last())(recorder, x, y, seed=1)
    seen = recorder.shown[1:]
    assert len(seen) == 2 + 3 + 1
    streams = Streams.of(1, torch.arange(12)).derive("attempt").derive(torch.zeros(12, dtype=torch.int64))
    direction = 2 * streams.derive("outputs").uniform(model(x).detach()) - 1
    for at in range(5):
        wanted = seen[at].clone().requires_grad_()
        logits = model(wanted)
        if at < 2:
            value, size = (direction * logits).sum(), EPS
        else:
            rest = logits.scatter(1, y[:, None], -torch.inf).amax(1)
            value, size = (rest - logits.gather(1, y[:, None])[:, 0]).sum(), EPS / 4
        moved = seen[at] + size * torch.autograd.grad(value, wanted)[0].sign()
        expected = torch.max(torch.min(moved, x + EPS), x - EPS).clamp(0, 1)
        assert torch.allclose(seen[at + 1], expected, atol=1e-9), at


def test_starts_differ_more_in_their_logits_than_random_ones():
    """What the method is for: over restarts the starts spread out in the outputs."""
    model = Network()
    x, y, _ = images(model, 24)
    there = pgd(Linf(EPS), steps=1, size=1e-9, start=at_given)
    spread = {}
    for name, attack in (("odi", diversified(there)), ("random", pgd(Linf(EPS), steps=1, size=1e-9))):
        logits = [model(attack.with_goal(Last())(model, x, y, seed=seed).x).detach() for seed in range(10)]
        spread[name] = float(torch.stack(logits).std(0).mean())
    assert spread["odi"] > 1.5 * spread["random"]


def test_an_attack_that_starts_elsewhere_is_an_error():
    with pytest.raises(InputError, match="starts at_given images, got pgd"):
        diversified(pgd(Linf(EPS)))


def test_each_attempt_has_a_direction_of_its_own():
    attack = odi(Linf(EPS), steps=2, restarts=2)
    zero = torch.zeros(1, dtype=torch.int64)
    x = torch.zeros(1, 3)
    one, two = (
        Problem(x, zero, Threat(Linf(EPS)), Streams.of(0, zero).derive("attempt").derive(zero + at), x, x, zero, False)
        for at in (0, 1)
    )
    logits = torch.randn(1, 3, generator=torch.Generator().manual_seed(0))
    assert attack.loss.ascend(one, zero, logits) != attack.loss.ascend(two, zero, logits)
