"""Every test begins with the same global seed, and hypothesis tries the same examples, without a deadline."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("steelman", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steelman")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
