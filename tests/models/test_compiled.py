"""A compiled model sees batches of one size and answers as the model does."""

import pytest
import torch
from torch import nn

from steelman.attacks import pgd
from steelman.models import CNN, Compiled
from steelman.norms import Linf


class Sized(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.inner = CNN(width=4).eval()

    def forward(self, x):
        assert len(x) == 8
        return self.inner(x)


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_an_attack_meets_one_shape_alone_and_finds_the_same():
    model = Sized()
    x = torch.rand(11, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    y = model.inner(x).argmax(1)
    attack = pgd(Linf(0.1), steps=3)
    plain = attack(model.inner, x, y, slots=8)
    compiled = attack(Compiled(model, 8, backend="eager"), x, y, slots=8)
    assert torch.equal(compiled.broken, plain.broken)
    assert torch.allclose(compiled.margin, plain.margin, atol=1e-4)
