"""How hypothesis searches: the same examples each time, and no deadline on a busy machine."""

from hypothesis import settings

settings.register_profile("steelman", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steelman")
