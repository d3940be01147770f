"""What Foolbox imports and its attacks never call."""


class Repo:
    """Clones nothing."""
