"""What a pipeline says, asked as it will be used: the same judge for the naive attack and the right one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steelman.data import Images, load
from steelman.victim import abstains

N = 100
DRAWS = 5


def images(n: int = N) -> Images:
    """Returns the seeded test images on which the zoo's figures stand."""
    return load("mnist").test.sample(n, 0)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, attacked: bool, draws: int = DRAWS, seed: int = 1) -> float:
    """Returns the share of images that are classified correctly, the mean over so many draws of a random model.

    attacked: to abstain is then right, as it is not on clean images.
    """
    right = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(draws):
            logits = model(x)
            read = logits.argmax(1)
            refused = (read == logits.shape[1] - 1) & abstains(model)
            right.append((read == y) | (refused & attacked))
            if len(right) == 1 and torch.equal(model(x), logits):
                break
    return float(torch.stack(right).double().mean())
