"""How far a piece of work is, and who hears of it by the former name."""

import pytest
import torch
from torch import nn

from steelman import attacks
from steelman.norms import Linf
from steelman.progress import Progress, inside, part


def test_a_part_is_told_as_a_share_of_the_whole() -> None:
    heard: list[Progress] = []
    for at in range(2):
        hears = part(heard.append, at, 2)
        assert hears is not None
        hears(Progress(5, 10, broken=1))
    assert [now.share for now in heard] == [0.25, 0.75]
    assert heard[0].broken == 1
    assert part(None, 0, 2) is None
    assert Progress(0, 0).share == 1.0


def test_what_takes_long_by_itself_stands_inside_the_whole() -> None:
    heard: list[Progress] = []
    inside(heard.append, Progress(1, 4, "a study"), "a training")(Progress(3, 6, notes=("epoch 1",)))
    (now,) = heard
    assert (now.share, now.title) == (0.25, "a study")
    assert now.inside == Progress(3, 6, "a training", notes=("epoch 1",))


@pytest.mark.parametrize("name", ["fgsm", "standard", "universal"])
def test_the_former_keyword_is_taken_with_a_warning(name: str) -> None:
    torch.manual_seed(0)
    model, heard = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval(), list[Progress]()
    attack, x = getattr(attacks, name)(Linf(0.1)), torch.rand(4, 1, 4, 4)
    with pytest.warns(DeprecationWarning, match="write progress="):
        attack(model, x, torch.arange(4) % 3, observe=heard.append)
    assert heard
